"""Names of a session's files: a NixOS party has those of a laptop with the same files, or no session
of theirs begins."""

import json
import pathlib
import subprocess
import tempfile
import unittest

import module

PARTIES = ["alice", "bob", "carol"]
STORE = f"/nix/store/{'a' * 32}-"
FILES = {"main.py": "import y", "y.py": "", "data/x.csv": "1", "data/deep/z.csv": "2", "my file.txt": "3"}


class Placed(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.laptop = self.root / "laptop"
        self.write(self.laptop, {name: self.laptop / name for name in FILES}, FILES)

    def write(self, directory, places, texts):
        for name, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(texts[name])

    def placed(self, program: str, files: list[str]) -> dict:
        """What the module makes of a program and files, Nix expressions: the paths, and what is to be
        put together under which names."""
        together = '{ outPath = "/together"; }'
        return module.nix(f"""
            let
              lib = (import ./stand-in/system.nix).lib;
              place = linkFarm: import ../../modules/placed.nix {{ inherit lib; pkgs.linkFarm = linkFarm; }};
              session = {{ program = {program}; files = [ {" ".join(files)} ]; }};
              paths = place (_: _: {together}) session;
              entries = (place (_: entries: {{ outPath = builtins.toJSON entries; }}) session).program;
            in {{ inherit (paths) program files; inherit entries; }}""")

    def entries(self, placed: dict) -> dict[str, str]:
        text = placed["entries"]
        return {one["name"]: one["path"] for one in json.loads(text[: text.rindex("]") + 1])}

    def shown(self, program: pathlib.Path, files: list[pathlib.Path]) -> dict[str, str]:
        """The digests of the files that the real program reads, by the names that parties compare."""
        configuration = self.root / "config.toml"
        session = {"program": str(program), "files": list(map(str, files)), "parties": PARTIES}
        configuration.write_text(module.toml({"sessions": {"demo": session}}))
        command = [module.agent(), "--state", self.root, "--config", configuration, "--json", "session", "show"]
        done = subprocess.run([*command, "demo"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

        def name(path: pathlib.Path) -> str:
            below = path.is_relative_to(program.parent)
            return str(path.relative_to(program.parent)) if below else path.name

        return {name(pathlib.Path(one["path"])): one["sha256"] for one in json.loads(done.stdout)["files"]}

    def test_files_below_the_program_keep_their_places(self):
        others = [name for name in FILES if name != "main.py"]
        literals = [f'({self.laptop} + "/{name}")' for name in others]
        placed = self.placed(f"{self.laptop}/main.py", literals)
        self.assertEqual(placed["program"], "/together/main.py")
        self.assertEqual(placed["files"], [f"/together/{name}" for name in others])
        entries = self.entries(placed)
        self.assertEqual(set(entries), set(FILES))
        for path in entries.values():
            self.assertRegex(path, "^/nix/store/[a-z0-9]{32}-mpyc-session-file$")
        # As they are then in the store: links to files, which the program follows.
        together = self.root / "together"
        for name in entries:
            (together / name).parent.mkdir(parents=True, exist_ok=True)
            (together / name).symlink_to(self.laptop / name)
        theirs = self.shown(self.laptop / "main.py", [self.laptop / name for name in others])
        self.assertEqual(set(theirs), set(FILES))
        self.assertEqual(self.shown(together / "main.py", [together / name for name in others]), theirs)

    def test_a_file_from_elsewhere_lies_beside_the_program(self):
        placed = self.placed(f"{self.laptop}/data/x.csv", [f"{self.laptop}/y.py"])
        self.assertEqual((placed["program"], placed["files"]), ("/together/x.csv", ["/together/y.py"]))

    def test_a_store_path_as_a_whole_has_its_name_without_the_hash(self):
        context = '(builtins.toFile "helper.py" "x = 1")'
        derivation = f'{{ outPath = "{STORE}drawn.csv"; }}'
        placed = self.placed(f'"{STORE}demo.py"', [context, derivation, f"{self.laptop}/y.py"])
        self.assertEqual(placed["program"], "/together/demo.py")
        self.assertEqual(placed["files"], [f"/together/{name}" for name in ("helper.py", "drawn.csv", "y.py")])
        entries = self.entries(placed)
        self.assertEqual(entries["demo.py"], f"{STORE}demo.py")
        self.assertRegex(entries["helper.py"], "^/nix/store/[a-z0-9]{32}-helper.py$")

    def test_a_directory_of_the_store_keeps_its_inner_places(self):
        program, file = f"{STORE}source/programs/demo.py", f"{STORE}source/programs/data/x.csv"
        placed = self.placed(f'"{program}"', [f'"{file}"'])
        self.assertEqual(self.entries(placed), {"demo.py": program, "data/x.csv": file})
        self.assertEqual(placed["files"], ["/together/data/x.csv"])

    def test_what_is_outside_the_store_stays(self):
        placed = self.placed('"/opt/demo/main.py"', ['"/opt/demo/data/x.csv"', f"{self.laptop}/y.py"])
        self.assertEqual(placed["program"], "/opt/demo/main.py")
        self.assertEqual(placed["files"], ["/opt/demo/data/x.csv", "/together/y.py"])


if __name__ == "__main__":
    unittest.main()
