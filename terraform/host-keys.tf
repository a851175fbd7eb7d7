# The SSH host key of every droplet is made here, so that it is known before anybody connects, and goes to
# the droplet as its user data, by DigitalOcean's API. The private key is in the directory host-keys/,
# and DigitalOcean's provider keeps no more than a hash of user data in the state; the public key is there
# as well.

resource "terraform_data" "host_key" {
  for_each = module.fleet.hosts

  # Not known before the file is made, and so nothing reads that earlier.
  input = "${path.root}/host-keys/${each.key}"

  provisioner "local-exec" {
    command = "${path.module}/host-key"
    environment = {
      MPYC_PARTY_HOST     = each.key
      MPYC_PARTY_KEY_FILE = "${path.root}/host-keys/${each.key}"
    }
  }
}

resource "terraform_data" "host_public_key" {
  for_each = module.fleet.hosts

  # Type and key, without the comment. Where the file is gone, what the state has stays.
  input            = try(join(" ", slice(split(" ", file("${terraform_data.host_key[each.key].output}.pub")), 0, 2)), "")
  triggers_replace = terraform_data.host_key[each.key].id

  lifecycle {
    ignore_changes = [input]
  }
}

locals {
  host_keys = {
    for name, key in terraform_data.host_public_key : name => lookup(var.host_keys, name, key.output)
  }
}
