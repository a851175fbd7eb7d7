# The mpyc-party binary with its manual pages and completions.
{
  lib,
  rustPlatform,
  installShellFiles,
  stdenv,
}:
let
  manifest = lib.importTOML ../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = "mpyc-party";
  inherit (manifest.workspace.package) version;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../agent
      ../clippy.toml
      ../programs
      ../rustfmt.toml
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [ "--package=mpyc-party" ];

  # Tests need Python with MPyC and namespaces: they are checks of the flake.
  doCheck = false;

  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    mkdir "$TMPDIR/man"
    "$out/bin/mpyc-party" man "$TMPDIR/man"
    installManPage "$TMPDIR"/man/*
    for shell in bash fish zsh; do
      "$out/bin/mpyc-party" completions "$shell" > "mpyc-party.$shell"
    done
    installShellCompletion mpyc-party.{bash,fish,zsh}
  '';

  meta = {
    inherit (manifest.workspace.package) description;
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "mpyc-party";
    platforms = lib.platforms.linux;
  };
}
