"""The script `evaluate`, with a nixpkgs that has the stand-in for NixOS and no packages."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import module

EVAL_CONFIG = """
{ modules, ... }:
{
  config = (import STAND_IN/system.nix).system (builtins.elemAt modules 1);
}
"""
FLAKE = """
{
  outputs = _: {
    lib.genAttrs =
      names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
    legacyPackages = throw "this nixpkgs has no packages";
  };
}
"""


def git(directory: pathlib.Path, *words: str) -> str:
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *words]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


class Evaluate(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def checkout(self) -> pathlib.Path:
        """This project as it is now, committed, in a directory of its own."""
        made = self.directory / "checkout"
        for name in git(module.PROJECT, "ls-files", "--cached", "--others", "--exclude-standard").split("\n"):
            if (source := module.PROJECT / name).is_file():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, made / name)
        git(made, "init", "--quiet")
        git(made, "add", "--all")
        git(made, "commit", "--quiet", "--message=as it is")
        return made

    def nixpkgs(self, checkout: pathlib.Path) -> pathlib.Path:
        made = self.directory / "nixpkgs"
        (made / "nixos/lib").mkdir(parents=True)
        eval_config = EVAL_CONFIG.replace("STAND_IN", str(checkout / "tests/nix/stand-in"))
        (made / "nixos/lib/eval-config.nix").write_text(eval_config)
        (made / "flake.nix").write_text(FLAKE)
        return made

    def test_what_was_built_in_the_checkout_is_not_looked_at(self):
        checkout = self.checkout()
        # Like the devices of the container in which the units are tested: Nix refuses such files.
        (checkout / "target").mkdir()
        os.mkfifo(checkout / "target/fifo")
        own = {f"NIX_{name}_DIR": str(self.directory / "nix" / name) for name in ("STORE", "STATE", "LOG")}
        done = subprocess.run(
            [checkout / "tests/nix/evaluate", self.nixpkgs(checkout)],
            env=os.environ | own | {"HOME": str(self.directory)},
            capture_output=True,
            text=True,
        )
        self.assertIn("the stand-in and NixOS agree in every case", done.stdout, done.stderr)
        self.assertIn("packages.x86_64-linux", done.stdout)
        self.assertIn("this nixpkgs has no packages", done.stderr)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
