# Types of this module's options beside those of nixpkgs.
{ lib }:
let
  inherit (lib) types;
in
{
  # A file that holds a secret. Path literals are refused because they end up in the store.
  secretFile = lib.mkOptionType {
    name = "secretFile";
    description = "string with the absolute path of a file outside the Nix store";
    descriptionClass = "noun";
    check =
      file: builtins.isString file && lib.hasPrefix "/" file && !lib.hasPrefix builtins.storeDir file;
    merge = lib.mergeEqualOption;
  };

  # A name as in a certificate or a unit: a lower-case DNS label.
  name = types.strMatching "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

  # One word of MPyC's options, as far as a word by itself can be judged; the program checks them all.
  mpycOption = lib.mkOptionType {
    name = "mpycOption";
    description = "allowed option of MPyC";
    descriptionClass = "noun";
    check =
      word:
      let
        level = "debug|info|warning|error";
        matches = pattern: builtins.match pattern word != null;
      in
      builtins.isString word
      && (
        matches "--no-(prss|numpy|gmpy2|uvloop|barrier|async|log)|--mix32-64bit"
        || matches "-[KLW]=?[0-9]*|--(sec-param|bit-length|workers)(=[0-9]+)?|[0-9]+"
        || matches "--log-level(=(${level}))?|${level}"
      );
    merge = lib.mergeEqualOption;
  };

  # A span of time as the program reads it.
  duration = types.strMatching "([0-9]+ *[a-z]+ *)+";

  # A setting that is left to the program's own default where it is not given.
  optional =
    type: attributes:
    lib.mkOption (
      {
        type = types.nullOr type;
        default = null;
      }
      // attributes
    );
}
