"""hosts/: what becomes of hosts.json, and what somebody is told where it is not as it should be."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import module

HUB = {"platform": "digitalocean", "role": "hub", "system": "x86_64-linux"}


class Hosts(unittest.TestCase):
    def setUp(self):
        self.hosts = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "hosts"
        shutil.copytree(module.PROJECT / "hosts", self.hosts)
        (self.hosts.parent / "modules").symlink_to(module.PROJECT / "modules")

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
            (json.dumps({"others": HUB}), "The host «others» of hosts/*.json cannot be a party"),
        ]:
            with self.subTest(text):
                self.assertIn(words, self.refusal(text))


class Pi(unittest.TestCase):
    def test_it_does_not_wait_for_ever_for_the_time(self):
        """In a network without NTP the time never comes, and all units would wait for it."""
        lib = "(import ./stand-in/system.nix).lib"
        pi = f'import {module.PROJECT}/hosts/raspberry-pi-4.nix {{ lib = {lib}; config = {{ }}; modulesPath = ""; }}'
        unit = module.nix(f"({pi}).systemd.services.systemd-time-wait-sync")
        self.assertEqual(unit, {"wantedBy": ["sysinit.target"], "serviceConfig": {"TimeoutStartSec": "5min"}})
        # Whoever required it would not start after its end.
        for path in [*module.PROJECT.glob("hosts/*.nix"), *module.PROJECT.glob("modules/*.nix")]:
            self.assertNotRegex(path.read_text(), r'(requires|requiredBy|bindsTo).*(\n.*)?time-(wait-)?sync')


class HostKey(unittest.TestCase):
    """The script of a droplet that takes its SSH host key, run for real in a directory of its own."""

    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        text = (module.PROJECT / "hosts/digitalocean.nix").read_text()
        unit = text[text.index("mpyc-party-host-key = {"):]
        script = unit.split("script = ''")[1].split("'';")[0]
        self.script = script.replace("/run/do-metadata", str(self.root)).replace("/etc/ssh", str(self.root))
        self.key = self.root / "ssh_host_ed25519_key"

    def take(self, user_data):
        (self.root / "v1.json").write_text(json.dumps({} if user_data is None else {"user_data": user_data}))
        subprocess.run(["sh", "-ec", self.script], check=True)

    def test_the_key_is_the_one_that_was_made(self):
        made = self.root / "made"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made], check=True)
        lines = "".join(f"    {line}\n" for line in made.read_text().splitlines())
        self.take(f"#cloud-config\nssh_keys:\n  ed25519_private: |\n{lines}")
        self.assertEqual(self.key.read_text(), made.read_text())
        self.assertEqual(self.key.stat().st_mode & 0o777, 0o600)
        public = self.key.with_suffix(".pub").read_text().split()[:2]
        self.assertEqual(public, made.with_suffix(".pub").read_text().split()[:2])

    def test_without_one_the_server_makes_its_own(self):
        for user_data in (None, "", "mpyc1abc", "#cloud-config\nssh_keys:\n  ed25519_private: |\n"):
            self.take(user_data)
            self.assertEqual([path.name for path in self.root.iterdir()], ["v1.json"])


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("nft"), "needs root and nft")
class Metadata(unittest.TestCase):
    """The rules of nftables by which a droplet keeps its user data for root, in a network of their own."""

    # What root and somebody else get from a service at the address of the metadata.
    ASKS = """
import os, socket, sys
listener = socket.create_server(("169.254.169.254", 80))
for user in (0, 65534):
    if os.fork() == 0:
        os.setresuid(user, user, user)
        asks = socket.socket()
        asks.settimeout(5)
        try:
            asks.connect(("169.254.169.254", 80))
            print(user, "connected", flush=True)
        except OSError:
            print(user, "refused", flush=True)
        os._exit(0)
    os.wait()
"""

    def test_only_root_reads_the_metadata(self):
        text = (module.PROJECT / "hosts/digitalocean.nix").read_text()
        table = text[text.index("networking.nftables.tables"):]
        chain = table.split("content = ''")[1].split("'';")[0]
        script = f"""
            ip link set lo up
            ip address add 169.254.169.254/32 dev lo
            printf '%s' "$RULES" | nft -f -
            exec python3 -c "$ASKS"
        """
        rules = f"table ip metadata {{ {chain} }}"
        answer = subprocess.run(
            ["unshare", "--net", "sh", "-ec", script], check=True, capture_output=True, text=True,
            env=os.environ | {"RULES": rules, "ASKS": self.ASKS},
        )
        self.assertEqual(answer.stdout.splitlines(), ["0 connected", "65534 refused"])


if __name__ == "__main__":
    unittest.main()
