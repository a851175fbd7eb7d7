# A session's program and files under the names by which parties compare them, as the program itself
# takes names from paths: the way from the program's directory, else the file's own name.
{ lib, pkgs }:
session:
let
  inherit (builtins) storeDir unsafeDiscardStringContext;

  located = file: unsafeDiscardStringContext "${if builtins.isPath file then toString file else file}";
  inStore = file: builtins.isPath file || lib.hasPrefix "${storeDir}/" (located file);

  # What is a store path as a whole, such as "${./demo.py}", has a hash before its name.
  ownName =
    file:
    let
      name = baseNameOf (located file);
    in
    if dirOf (located file) == storeDir then
      builtins.substring 33 (builtins.stringLength name) name
    else
      name;

  directory = dirOf (located session.program);
  nameOf =
    file:
    if directory != storeDir && lib.hasPrefix "${directory}/" (located file) then
      lib.removePrefix "${directory}/" (located file)
    else
      ownName file;

  # Alone, whatever else is in its directory, and whatever its name.
  copied =
    file:
    if builtins.isPath file then
      builtins.path {
        name = "mpyc-session-file";
        path = file;
      }
    else
      "${file}";

  files = if session.files == null then [ ] else session.files;
  together = pkgs.linkFarm "mpyc-session" (
    map (file: {
      name = nameOf file;
      path = copied file;
    }) (lib.filter inStore ([ session.program ] ++ files))
  );
  place = file: if inStore file then "${together}/${nameOf file}" else file;
in
session
// {
  program = place session.program;
  files = if session.files == null then null else map place session.files;
}
