"""hosts/: what becomes of hosts.json, and what somebody is told where it is not as it should be."""

import json
import pathlib
import shutil
import tempfile
import unittest

import module

HUB = {"platform": "digitalocean", "role": "hub", "system": "x86_64-linux"}


class Hosts(unittest.TestCase):
    def setUp(self):
        self.hosts = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "hosts"
        shutil.copytree(module.PROJECT / "hosts", self.hosts)

    def fleet(self, expression: str = "builtins.attrNames fleet"):
        lib = "(import ./stand-in/system.nix).lib"
        return module.nix(f"let fleet = import {self.hosts} {{ lib = {lib}; }}; in {expression}")

    def refusal(self, text: str | None) -> str:
        """What is said of a hosts.json with this text, or of none."""
        (self.hosts / "hosts.json").unlink(missing_ok=True)
        if text is not None:
            (self.hosts / "hosts.json").write_text(text)
        with self.assertRaises(RuntimeError) as refused:
            self.fleet("builtins.deepSeq (builtins.mapAttrs (_: host: host.modules) fleet) 0")
        return str(refused.exception)

    def test_both_files_count(self):
        (self.hosts / "hosts.json").write_text(json.dumps({"hub": HUB}))
        self.assertEqual(self.fleet(), ["hub", "party-kitchen"])
        (self.hosts / "hosts.json").write_text("{}")
        self.assertEqual(self.fleet(), ["party-kitchen"])

    def test_a_hub_is_told_its_network(self):
        (self.hosts / "hosts.json").write_text(json.dumps({"hub": HUB | {"network": "mine"}}))
        modules = self.fleet("builtins.filter builtins.isAttrs fleet.hub.modules")
        self.assertIn({"services": {"mpyc-party": {"authority": {"network": "mine"}}}}, modules)

    def test_what_is_wrong_is_said_with_the_file_or_the_host(self):
        for text, words in [
            (None, "hosts/hosts.json is missing"),
            ("\n", "hosts/hosts.json is empty"),
            ("no json", "hosts/hosts.json"),
            (json.dumps({"hub": HUB | {"platform": "mainframe"}}), "The host «hub»"),
            (json.dumps({"hub": HUB | {"role": 1}}), "The host «hub»"),
            (json.dumps({"hub": {"platform": "digitalocean", "role": "hub"}}), "The host «hub»"),
            (json.dumps({"hub": "192.0.2.10"}), "The host «hub»"),
        ]:
            with self.subTest(text):
                self.assertIn(words, self.refusal(text))


if __name__ == "__main__":
    unittest.main()
