# The module's options as data, for the reference in docs/.
let
  inherit (import ./stand-in/system.nix) evaluate lib;
  inherit (builtins) attrNames concatMap isAttrs;

  # Examples and defaults as the text that a person would write.
  shown =
    value:
    if isAttrs value && value._type or null == "literalExpression" then
      { code = value.text; }
    else
      { inherit value; };

  describe =
    place: option:
    if option.internal or false || !(option.visible or true) then
      [ ]
    else
      [
        (
          {
            name = place;
            type = option.type.description;
            inherit (option) description;
          }
          // (
            if option ? defaultText then
              { default = shown option.defaultText; }
            else if option ? default then
              { default = shown option.default; }
            else
              { }
          )
          // (if option ? example then { example = shown option.example; } else { })
        )
      ]
      ++ inner place option.type;

  inner =
    place: type:
    if type ? module then
      walk place (builtins.elemAt (lib.evaluate "" [ type.module ] { }).trees 0)
    else if type ? nested then
      inner "${place}.<name>" type.nested
    else
      [ ];

  walk =
    place: tree:
    if tree._type or null == "option" then
      describe place tree
    else
      concatMap (name: walk "${place}.${name}" tree.${name}) (attrNames tree);
in
concatMap (
  tree:
  if tree ? services.mpyc-party then walk "services.mpyc-party" tree.services.mpyc-party else [ ]
) (evaluate { }).trees
