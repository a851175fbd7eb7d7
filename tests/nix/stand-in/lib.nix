# A stand-in for the functions of nixpkgs' lib that the module uses. It is not the NixOS module
# system: it knows no more than is written here, and its messages are only alike.
let
  inherit (builtins)
    attrValues
    concatMap
    elem
    filter
    fromJSON
    head
    isAttrs
    length
    listToAttrs
    map
    mapAttrs
    readFile
    stringLength
    substring
    ;
  modules = import ./modules.nix { inherit lib; };
  tagged = _type: attributes: attributes // { inherit _type; };

  lib = rec {
    types = import ./types.nix { inherit (modules) discharge evaluate; };
    inherit (modules) evaluate;

    mkOption = tagged "option";
    mkEnableOption =
      what:
      mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether to enable ${what}.";
      };
    mkOptionType =
      { description, check, ... }:
      types.str
      // {
        inherit description check;
        merge =
          place: definitions:
          let
            values = modules.discharge definitions;
          in
          if builtins.all check values then
            head values
          else
            throw "A definition for option `${place}' is not of type `${description}'.";
      };
    mkIf = condition: content: tagged "if" { inherit condition content; };
    mkMerge = contents: tagged "merge" { inherit contents; };
    mkOverride = priority: content: tagged "override" { inherit priority content; };
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mergeEqualOption = null;
    literalExpression = text: {
      _type = "literalExpression";
      inherit text;
    };

    setAttrByPath =
      path: value:
      if path == [ ] then value else { ${head path} = setAttrByPath (builtins.tail path) value; };
    getAttrFromPath = path: set: builtins.foldl' (inner: name: inner.${name}) set path;
    mkAliasOptionModule = from: to: { config, ... }: {
      options = setAttrByPath from (mkOption {
        type = types.anything;
        default = { };
        visible = false;
      });
      config = setAttrByPath to (getAttrFromPath from config);
    };

    optional = condition: value: if condition then [ value ] else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    genAttrs =
      names: make:
      listToAttrs (
        map (name: {
          inherit name;
          value = make name;
        }) names
      );
    mapAttrs' = make: set: listToAttrs (mapAttrsToList make set);
    filterAttrs =
      keep: set:
      removeAttrs set (filter (name: !keep name set.${name}) (builtins.attrNames set));
    mapAttrsToList = make: set: attrValues (mapAttrs make set);
    filterAttrsRecursive =
      keep: set:
      listToAttrs (
        concatMap (
          name:
          let
            value = set.${name};
          in
          optional (keep name value) {
            inherit name;
            value = if isAttrs value && !(value ? outPath) then filterAttrsRecursive keep value else value;
          }
        ) (builtins.attrNames set)
      );
    any = builtins.any;
    inherit
      concatMap
      elem
      filter
      head
      mapAttrs
      ;
    inherit (builtins) attrNames concatLists concatStringsSep;
    concatMapStringsSep =
      separator: make: list:
      concatStringsSep separator (map make list);
    findFirst =
      test: default: list:
      let
        found = filter test list;
      in
      if found == [ ] then default else head found;
    unique = builtins.foldl' (seen: one: if elem one seen then seen else seen ++ [ one ]) [ ];
    subtractLists = gone: filter (one: !elem one gone);
    last = list: builtins.elemAt list (length list - 1);
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    removePrefix =
      prefix: text:
      if hasPrefix prefix text then substring (stringLength prefix) (stringLength text) text else text;
    splitString = separator: text: filter builtins.isString (builtins.split separator text);
    toInt = fromJSON;
    importJSON = file: fromJSON (readFile file);
  };
in
lib
