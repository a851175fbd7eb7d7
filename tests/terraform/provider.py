"""A stand-in for the provider digitalocean/digitalocean 2.99: the arguments that terraform/ uses, kept by
hand, and resources that exist nowhere but in the state. It finds misspelt, mistyped and missing
arguments and what forces a replacement; of the live service it knows nothing.

$STAND_IN_LOG names a file to which it writes what it does."""

import hashlib
import os
import sys

from tf.blocks import SetNestedBlock
from tf.iface import Provider, Resource
from tf.runner import run_provider
from tf.schema import Attribute, Block, NestedBlock, NestMode, Schema
from tf.types import Bool, Number, Set, String


def required(kind, **more):
    return {"type": kind, "required": True, **more}


def optional(kind, **more):
    return {"type": kind, "optional": True, **more}


def computed(kind, **more):
    return {"type": kind, "computed": True, **more}


REPLACE = {"requires_replace": True}
TEXT, TEXTS = String(), Set(String())

RULE = {"protocol": required(TEXT), "port_range": optional(TEXT)}

# Arguments by resource, those of blocks in sets of their own.
RESOURCES = {
    "tag": {
        "name": required(TEXT, **REPLACE),
    },
    "spaces_bucket": {
        "name": required(TEXT, **REPLACE),
        "region": optional(TEXT, computed=True, default="nyc3", **REPLACE),
        "acl": optional(TEXT),
        "force_destroy": optional(Bool()),
        "bucket_domain_name": computed(TEXT),
        "endpoint": computed(TEXT),
        "urn": computed(TEXT),
    },
    "spaces_bucket_object": {
        "region": required(TEXT, **REPLACE),
        "bucket": required(TEXT, **REPLACE),
        "key": required(TEXT, **REPLACE),
        "source": optional(TEXT),
        "etag": optional(TEXT, computed=True),
        "acl": optional(TEXT),
        "content_type": optional(TEXT, computed=True, default="application/octet-stream"),
    },
    "custom_image": {
        "name": required(TEXT),
        "url": required(TEXT, **REPLACE),
        "regions": required(TEXTS),
        "distribution": optional(TEXT),
        "description": optional(TEXT),
        "tags": optional(TEXTS),
        "image_id": computed(Number()),
        "status": computed(TEXT),
        "timeouts": {"create": optional(TEXT), "delete": optional(TEXT)},
    },
    "droplet": {
        "name": required(TEXT),
        "region": optional(TEXT, computed=True, **REPLACE),
        "size": required(TEXT),
        "image": required(TEXT, **REPLACE),
        "ssh_keys": optional(TEXTS, **REPLACE),
        "user_data": optional(TEXT, **REPLACE),
        "monitoring": optional(Bool(), **REPLACE),
        "tags": optional(TEXTS),
        "ipv4_address": computed(TEXT),
        "urn": computed(TEXT),
        "timeouts": {"create": optional(TEXT), "update": optional(TEXT), "delete": optional(TEXT)},
    },
    "firewall": {
        "name": required(TEXT),
        "tags": optional(TEXTS),
        "droplet_ids": optional(Set(Number())),
        "status": computed(TEXT),
        "inbound_rule": [RULE | {"source_addresses": optional(TEXTS), "source_tags": optional(TEXTS)}],
        "outbound_rule": [RULE | {"destination_addresses": optional(TEXTS)}],
    },
}


class Single(NestedBlock):
    """A block that is there once or not at all, such as `timeouts`."""

    def __init__(self, name: str, block: Block):
        super().__init__(name, NestMode.Single, block)

    def encode(self, value):
        return value

    def decode(self, value):
        return value

    def semantically_equal(self, a_decoded, b_decoded) -> bool:
        return a_decoded == b_decoded


def attributes(table: dict) -> list[Attribute]:
    plain = {k: v for k, v in table.items() if isinstance(v, dict) and "type" in v}
    return [Attribute(name, **how) for name, how in plain.items()]


def schema(table: dict) -> Schema:
    blocks = []
    for name, inner in table.items():
        if isinstance(inner, list):
            blocks.append(SetNestedBlock(name, Block(attributes(inner[0]))))
        elif "type" not in inner:
            blocks.append(Single(name, Block(attributes(inner))))
    own = [Attribute("id", String(), computed=True), *attributes(table)]
    return Schema(version=0, attributes=own, block_types=blocks)


def log(*words: object) -> None:
    if path := os.environ.get("STAND_IN_LOG"):
        with open(path, "a") as file:
            print(*words, file=file)


def finish(kind: str, state: dict) -> dict:
    """What the service would fill in."""
    number = int(hashlib.sha256(repr(sorted(state.items(), key=str)).encode()).hexdigest()[:7], 16)
    made = {
        "id": state["name"] if kind in ("tag", "spaces_bucket") else str(number),
        "image_id": number,
        "status": "available",
        "urn": f"do:{kind}:{number}",
        "ipv4_address": f"198.51.100.{number % 250 + 1}",
        "bucket_domain_name": f"{state.get('name')}.{state.get('region')}.digitaloceanspaces.com",
        "endpoint": f"{state.get('region')}.digitaloceanspaces.com",
    }
    known = {name for name, how in RESOURCES[kind].items() if isinstance(how, dict) and how.get("computed")}
    return state | {name: made[name] for name in ({"id"} | known) & set(made)}


def resource(kind: str, table: dict) -> type[Resource]:
    class Standing(Resource):
        def __init__(self, provider):
            self.provider = provider

        @classmethod
        def get_name(cls) -> str:
            return kind

        @classmethod
        def get_schema(cls) -> Schema:
            return schema(table)

        def create(self, ctx, planned):
            log("create", kind, planned.get("name") or planned.get("key"))
            return finish(kind, planned)

        def read(self, ctx, current):
            return current

        def update(self, ctx, current, planned):
            log("update", kind, planned.get("name") or planned.get("key"))
            return current | planned

        def delete(self, ctx, current):
            log("delete", kind, current.get("name") or current.get("key"))

    return Standing


class DigitalOcean(Provider):
    def get_model_prefix(self) -> str:
        return "digitalocean_"

    def full_name(self) -> str:
        return "registry.terraform.io/digitalocean/digitalocean"

    def get_provider_schema(self, diags) -> Schema:
        names = ["token", "spaces_access_id", "spaces_secret_key"]
        return Schema(attributes=[Attribute(n, String(), optional=True, sensitive=True) for n in names])

    def validate_config(self, diags, config):
        pass

    def configure_provider(self, diags, config):
        pass

    def get_data_sources(self):
        return []

    def get_resources(self):
        return [resource(kind, table) for kind, table in RESOURCES.items()]


if __name__ == "__main__":
    run_provider(DigitalOcean(), sys.argv)
