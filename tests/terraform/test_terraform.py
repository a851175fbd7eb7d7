"""terraform/ from init to destroy, with a stand-in for the provider (provider.py) and for ssh."""

import json
import os
import pathlib
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import unittest
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent / "terraform"
VERSION = "2.99.0"
SECRET = "mpyc1secretsecretsecret"

SSH = """#!/bin/sh
# Stands in for ssh: keeps what came in by the address it was for.
for word; do case $word in root@*) address=${word#root@};; esac; done
echo "$@" >> "$SSH_LOG"
cat > "$SSH_LOG.$address"
"""


def program(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Terraform(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.work = self.root / "terraform"
        shutil.copytree(SOURCE, self.work, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        mirror = self.root / "mirror"
        binary = f"terraform-provider-digitalocean_v{VERSION}"
        place = f"registry.terraform.io/digitalocean/digitalocean/{VERSION}/linux_amd64"
        program(mirror / place / binary, f'#!/bin/sh\nexec "{sys.executable}" -B "{HERE}/provider.py" "$@"\n')
        program(self.root / "bin/ssh", SSH)
        settings = self.root / "terraform.rc"
        settings.write_text(f'provider_installation {{ filesystem_mirror {{ path = "{mirror}" }} }}\n')
        self.log = self.root / "log"
        self.log.touch()
        self.ssh = self.root / "ssh"
        self.environment = os.environ | {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "TF_CLI_CONFIG_FILE": str(settings),
            "TF_IN_AUTOMATION": "1",
            "STAND_IN_LOG": str(self.log),
            "SSH_LOG": str(self.ssh),
            "MPYC_PARTY_PAUSE": "0",
        }
        self.image("first")
        self.write(parties={"ams3": 2, "fra1": 1})
        self.terraform("init", "-input=false")

    def image(self, content: str) -> None:
        """An image of the fleet: its content does not matter here."""
        (self.work / "party.qcow2.gz").write_text(content)

    def write(self, **more) -> None:
        """The variables of the fleet."""
        fleet = {
            "network": "example",
            "hub_region": "fra1",
            "image": "party.qcow2.gz",
            "ssh_keys": ["3b:16:bf:e4"],
        }
        (self.work / "terraform.tfvars.json").write_text(json.dumps(fleet | more))

    def terraform(self, *words: str, fails=False, **environment: str) -> str:
        done = subprocess.run(
            ["terraform", *words, "-no-color"] if words[0] != "output" else ["terraform", *words],
            cwd=self.work,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(done.returncode != 0, fails, done.stdout)
        return done.stdout

    def apply(self, **environment: str) -> str:
        return self.terraform("apply", "-auto-approve", "-input=false", **environment)

    def hosts(self) -> dict:
        return json.loads(self.terraform("output", "-json", "hosts"))

    def clean(self) -> None:
        """A second plan has nothing to do."""
        self.terraform("plan", "-detailed-exitcode", "-input=false")

    def done(self) -> list[str]:
        """What the stand-in did since the last question."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return lines

    def everything_kept(self) -> str:
        """State, plans and logs: everything on disk that Terraform wrote."""
        files = [path for path in self.work.rglob("*") if path.is_file()]
        kept = [path.read_bytes() for path in files]
        for plan in filter(zipfile.is_zipfile, files):
            with zipfile.ZipFile(plan) as inside:
                kept += [inside.read(name) for name in inside.namelist()]
        return b"".join(kept).decode(errors="replace")

    def test_it_is_in_order(self):
        self.terraform("fmt", "-check", "-recursive", "-diff")
        self.terraform("validate")

    def test_its_own_tests(self):
        said = self.terraform("test")
        self.assertIn("0 failed", said)
        subprocess.run(["terraform", "init", "-input=false"], cwd=self.work / "fleet",
                       env=self.environment, check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run(["terraform", "test", "-no-color"], cwd=self.work / "fleet",
                              env=self.environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_wrong_variables_are_refused_with_a_message(self):
        self.write(ssh_keys=[])
        said = self.terraform("plan", "-input=false", fails=True)
        self.assertIn("at least one SSH key", said)
        self.assertEqual(self.done(), [])

    def test_a_fleet_from_nothing_to_nothing(self):
        self.apply()
        hosts = self.hosts()
        self.assertEqual(sorted(host["role"] for host in hosts.values()), ["hub"] + ["party"] * 3)
        example = json.loads((SOURCE.parent / "hosts/hosts.json").read_text())
        for host in hosts.values():
            self.assertEqual(set(host), set(next(iter(example.values()))))
        self.clean()
        self.done()

        with self.subTest("one more party leaves the others alone"):
            self.write(parties={"ams3": 3, "fra1": 1})
            self.apply()
            self.assertEqual([line.split()[:2] for line in self.done()], [["create", "droplet"]])
            self.assertLess(hosts.items(), self.hosts().items())
            self.clean()

        with self.subTest("a new image is for new droplets"):
            self.image("second")
            self.apply()
            kinds = {line.split()[1] for line in self.done()}
            self.assertEqual(kinds, {"spaces_bucket_object", "custom_image"})
            self.clean()

        with self.subTest("another SSH key replaces nobody, and no authority is lost"):
            self.write(parties={"ams3": 3, "fra1": 1}, ssh_keys=["3b:16:bf:e4", "aa:bb:cc:dd"])
            self.clean()

        with self.subTest("and then nothing is left"):
            self.terraform("destroy", "-auto-approve", "-input=false")
            self.assertEqual(len([line for line in self.done() if line.startswith("delete droplet")]), 5)
            self.assertEqual(self.terraform("state", "list").split(), [])

    def test_the_bucket_has_a_name_that_nobody_else_has_whatever_the_network(self):
        self.write(network="n" * 63)
        self.apply()
        [bucket] = [line.split()[2] for line in self.done() if line.startswith("create spaces_bucket ")]
        self.assertRegex(bucket, r"^mpyc-party-[0-9a-f-]{36}$")
        self.clean()

    def test_a_host_s_key_is_known_before_anybody_connects(self):
        self.apply()
        known = self.terraform("output", "-raw", "known_hosts")
        hosts = self.hosts()
        for name, host in hosts.items():
            with self.subTest(name):
                private = self.work / "host-keys" / name
                self.assertEqual(private.stat().st_mode & 0o777, 0o600)
                public = self.keygen("-y", "-f", private).split()[:2]
                self.assertIn(f"{host['address']} {' '.join(public)}\n", known)
        self.assertEqual(len(set(line.split()[2] for line in known.splitlines())), len(hosts))
        droplets = {name: self.droplet(name)["user_data"] for name in hosts}
        for name, user_data in droplets.items():
            # What the droplet makes of it.
            key = [line.strip() for line in user_data.splitlines()]
            key = key[key.index("-----BEGIN OPENSSH PRIVATE KEY-----"):]
            self.assertEqual("\n".join(key).strip(), (self.work / "host-keys" / name).read_text().strip())

        with self.subTest("without the files nothing changes"):
            shutil.rmtree(self.work / "host-keys")
            self.clean()
            self.assertEqual(self.terraform("output", "-raw", "known_hosts"), known)

    def droplet(self, name: str) -> dict:
        """What the state has of a droplet."""
        state = json.loads((self.work / "terraform.tfstate").read_text())
        [found] = [one for one in state["resources"] if one["type"] == "digitalocean_droplet"]
        return next(one["attributes"] for one in found["instances"] if one["index_key"] == name)

    def keygen(self, *words) -> str:
        return subprocess.run(["ssh-keygen", *map(str, words)], check=True, capture_output=True,
                              text=True).stdout

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("sshd", path="/usr/sbin:/usr/bin"),
                         "root's sshd is needed")
    def test_whoever_else_answers_gets_no_token(self):
        """The hand-over by the real SSH, to a real server that keeps what it is sent."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for name in ("server", "other", "client"):
            self.keygen("-q", "-t", "ed25519", "-N", "", "-f", self.root / name)
        got = self.root / "got"
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        server = subprocess.Popen([
            "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", self.root / "server", "-p", str(port),
            "-o", "ListenAddress=127.0.0.1", "-o", f"AuthorizedKeysFile={self.root / 'client.pub'}",
            "-o", "StrictModes=no", "-o", "UsePAM=no", "-o", "PidFile=none", "-o", f"ForceCommand=cat >> {got}",
        ], stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        ssh = shutil.which("ssh")
        program(self.root / "real/ssh", f'#!/bin/sh\nexec {ssh} -F none -p {port} -i {self.root / "client"} '
                '-o PasswordAuthentication=no "$@"\n')
        address = "127.0.0.1"
        environment = os.environ | {
            "PATH": f"{self.root / 'real'}:{os.environ['PATH']}", "MPYC_PARTY_PAUSE": "0",
            "MPYC_PARTY_ADDRESS": address, "MPYC_PARTY_TOKEN": SECRET,
        }
        for key, fails in (("other", True), ("server", False)):
            public = " ".join((self.root / f"{key}.pub").read_text().split()[:2])
            done = subprocess.run([self.work / "hand-over"], capture_output=True, text=True,
                                  env=environment | {"MPYC_PARTY_HOST_KEY": public})
            self.assertEqual(done.returncode != 0, fails, done.stderr)
            self.assertEqual(got.read_text() if got.exists() else "", "" if fails else SECRET + "\n")
        done = subprocess.run([self.work / "hand-over"], capture_output=True, text=True, env=environment)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("host_keys", done.stderr)

    def test_tokens_reach_hosts_and_nothing_else(self):
        self.apply()
        name, host = next((n, h) for n, h in self.hosts().items() if h["role"] == "party")
        self.write(parties={"ams3": 2, "fra1": 1}, enrol=[name])

        with self.subTest("without a token it fails and says so"):
            said = self.terraform("apply", "-auto-approve", "-input=false", fails=True)
            self.assertIn("hand-over", said)

        tokens = json.dumps({name: SECRET})
        self.terraform("plan", "-input=false", "-out=saved.tfplan", TF_VAR_tokens=tokens)
        said = self.terraform("apply", "-input=false", "saved.tfplan", TF_VAR_tokens=tokens)
        self.assertEqual(pathlib.Path(f"{self.ssh}.{host['address']}").read_text(), SECRET + "\n")
        self.assertNotIn(SECRET, said)
        self.assertNotIn(SECRET, self.ssh.read_text())
        self.assertIn("StrictHostKeyChecking=yes", self.ssh.read_text())
        self.assertNotIn("accept-new", self.ssh.read_text())
        self.assertNotIn(SECRET, self.everything_kept())
        self.clean()

        with self.subTest("it is handed over once"):
            self.ssh.write_text("")
            self.apply()
            self.assertEqual(self.ssh.read_text(), "")


if __name__ == "__main__":
    unittest.main()
