# The types that the module uses. Each merges definitions: `merge place definitions`.
{ discharge, evaluate }:
let
  inherit (builtins)
    all
    attrNames
    concatMap
    elem
    filter
    head
    isAttrs
    isBool
    isInt
    isList
    isString
    length
    listToAttrs
    map
    match
    tail
    ;
  show = value: if isAttrs value then "an attribute set" else builtins.toJSON value;
  refuse =
    place: description: value:
    throw "A definition for option `${place}' is not of type `${description}': ${show value}";

  scalar = description: check: {
    inherit description check;
    merge =
      place: definitions:
      let
        values = discharge definitions;
        first = head values;
      in
      if values == [ ] then
        throw "The option `${place}' was accessed but has no value defined."
      else if !all check values then
        refuse place description (head (filter (value: !check value) values))
      else if !all (value: value == first) (tail values) then
        throw "The option `${place}' has conflicting definitions."
      else
        first;
  };
  whole = least: value: isInt value && value >= least;
  names = sets: attrNames (builtins.foldl' (a: b: a // b) { } sets);
  isPath =
    value:
    builtins.isPath value || (isString value || value ? outPath) && match "/.*" "${value}" != null;
in
rec {
  bool = scalar "boolean" isBool;
  str = scalar "string" isString;
  package = scalar "package" (value: value ? outPath);
  path = scalar "absolute path" isPath;
  port = scalar "16 bit unsigned integer; between 0 and 65535 (both inclusive)" (
    value: whole 0 value && value < 65536
  );
  ints.unsigned = scalar "unsigned integer, meaning >=0" (whole 0);
  ints.positive = scalar "positive integer, meaning >0" (whole 1);
  enum =
    values:
    scalar "one of ${builtins.concatStringsSep ", " (map show values)}" (value: elem value values);
  strMatching =
    pattern:
    scalar "string matching the pattern ${pattern}" (
      value: isString value && match pattern value != null
    );

  nullOr = type: {
    description = "null or ${type.description}";
    check = value: value == null || type.check value;
    merge =
      place: definitions:
      if all (value: value == null) (discharge definitions) then null else type.merge place definitions;
  };
  listOf = type: {
    description = "list of ${type.description}";
    check = isList;
    merge =
      place: definitions:
      concatMap (
        list:
        if isList list then
          map (value: type.merge "${place}.*" [ value ]) list
        else
          refuse place "list of ${type.description}" list
      ) (discharge definitions);
  };
  either = one: other: {
    description = "${one.description} or ${other.description}";
    check = value: one.check value || other.check value;
    merge =
      place: definitions:
      (if all one.check (discharge definitions) then one else other).merge place definitions;
  };
  attrsOf = type: {
    description = "attribute set of ${type.description}";
    nested = type;
    check = isAttrs;
    merge =
      place: definitions:
      let
        sets = discharge definitions;
        of = name: map (set: set.${name}) (filter (set: set ? ${name}) sets);
        defined = filter (name: discharge (of name) != [ ]) (names sets);
      in
      listToAttrs (
        map (name: {
          inherit name;
          value = type.merge "${place}.${name}" (of name);
        }) defined
      );
  };
  coercedTo = from: coerce: to: {
    inherit (to) description;
    check = value: from.check value || to.check value;
    merge =
      place: definitions:
      to.merge place (
        map (value: if from.check value then coerce value else value) (discharge definitions)
      );
  };
  submodule = module: {
    description = "submodule";
    inherit module;
    check = isAttrs;
    merge =
      place: definitions:
      (evaluate place ([ module ] ++ map (config: { inherit config; }) (discharge definitions)) { })
      .config;
  };

  # What is of no declared type: sets are merged, lists joined, and others must agree.
  anything = {
    description = "anything";
    check = _: true;
    merge =
      place: definitions:
      let
        values = discharge definitions;
      in
      if all (value: isAttrs value && !(value ? outPath)) values then
        (attrsOf anything).merge place definitions
      else if all isList values then
        builtins.concatLists values
      else if length values == 1 then
        head values
      else
        (scalar "anything" (_: true)).merge place definitions;
  };
}
