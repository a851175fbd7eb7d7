# Evaluates modules: options and their definitions, with conditions, merges and priorities.
{ lib }:
let
  inherit (builtins)
    attrNames
    concatMap
    filter
    foldl'
    isAttrs
    isFunction
    isPath
    map
    ;
  is = kind: value: isAttrs value && value._type or null == kind;

  # A module and all that it imports, as { options, config }.
  collect =
    arguments: module:
    let
      loaded = if isPath module then import module else module;
      applied = if isFunction loaded then loaded arguments else loaded;
      split = applied ? config || applied ? options || applied ? freeformType;
      rest = removeAttrs applied [
        "imports"
        "freeformType"
      ];
    in
    concatMap (collect arguments) (applied.imports or [ ])
    ++ [
      {
        freeform = applied.freeformType or null;
        options = applied.options or { };
        config = if split then applied.config or { } else rest;
      }
    ];

  # The definitions below `name` in a definition. Conditions travel down and are not evaluated.
  below =
    name: value:
    if is "if" value then
      map (inner: value // { content = inner; }) (below name value.content)
    else if is "override" value then
      map (inner: value // { content = inner; }) (below name value.content)
    else if is "merge" value then
      concatMap (below name) value.contents
    else
      lib.optional (value ? ${name}) value.${name};

  keys =
    value:
    if is "if" value || is "override" value then
      keys value.content
    else if is "merge" value then
      concatMap keys value.contents
    else
      attrNames value;

  # The values of definitions whose conditions hold, those of the strongest priority.
  discharge =
    definitions:
    let
      each =
        priority: value:
        if is "if" value then
          (if value.condition then each priority value.content else [ ])
        else if is "merge" value then
          concatMap (each priority) value.contents
        else if is "override" value then
          each value.priority value.content
        else
          [ { inherit priority value; } ];
      found = concatMap (each 100) definitions;
      strongest = foldl' (least: one: if one.priority < least then one.priority else least) 9999 found;
    in
    map (one: one.value) (filter (one: one.priority == strongest) found);

  merge =
    place: trees: freeform: definitions:
    let
      option = filter (is "option") trees;
      declared = lib.unique (concatMap attrNames trees);
      inner = name: map (tree: tree.${name}) (filter (tree: tree ? ${name}) trees);
      value =
        name:
        merge (if place == "" then name else "${place}.${name}") (inner name) null (
          concatMap (below name) definitions
        );
      free = lib.subtractLists declared (lib.unique (concatMap keys definitions));
      only = builtins.head option;
      default = lib.optional (only ? default) (lib.mkOverride 1500 only.default);
    in
    if option != [ ] then
      only.type.merge place (definitions ++ default)
    else if free != [ ] && freeform == null then
      throw "The option `${place}.${builtins.head free}' does not exist."
    else
      lib.genAttrs declared value
      // lib.genAttrs free (name: freeform.merge "${place}.${name}" (concatMap (below name) definitions));

  evaluate =
    place: modules: arguments:
    let
      all = concatMap (collect ({ inherit lib config; } // arguments)) modules;
      freeform = lib.findFirst (type: type != null) null (map (one: one.freeform) all);
      trees = map (one: one.options) all;
      config = merge place trees freeform (map (one: one.config) all);
    in
    {
      inherit config trees;
    };
in
{
  inherit discharge evaluate;
}
