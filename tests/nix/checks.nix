# The flake's checks: code, formatting, and NixOS machines that run the module for real.
{ pkgs, module }:
let
  inherit (pkgs) lib;
  agent = pkgs.callPackage ../../agent/package.nix { };

  cargo =
    name: command: inputs:
    agent.overrideAttrs (old: {
      pname = "mpyc-party-${name}";
      nativeBuildInputs = old.nativeBuildInputs ++ inputs;
      buildPhase = command;
      installPhase = "touch $out";
      postInstall = "";
      dontFixup = true;
    });

  machines =
    file:
    pkgs.testers.runNixOSTest {
      imports = [ file ];
      defaults.imports = [ module ];
    };
in
{
  package = agent;
  clippy = cargo "clippy" "cargo clippy --offline --all-targets -- -D warnings" [ pkgs.clippy ];
  # What needs neither namespaces nor MPyC; the machines below show the rest.
  tests = cargo "tests" "cargo test --offline --workspace --lib" [ ];
  format = cargo "format" "cargo fmt --check" [ pkgs.rustfmt ];
  format-nix = pkgs.runCommandLocal "format-nix" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
    nixfmt --check ${
      lib.fileset.toSource {
        root = ../..;
        fileset = lib.fileset.fileFilter (file: file.hasExt "nix") ../..;
      }
    }
    touch $out
  '';
  session = machines ./machines/session.nix;
  nat = machines ./machines/nat.nix;
  restart = machines ./machines/restart.nix;
}
