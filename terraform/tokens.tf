# Hands every host in `enrol` its token, once in the life of its droplet. A token goes from the
# environment through SSH into the host's memory; user data would keep it in the state and show it to
# every process of the droplet.

resource "terraform_data" "token" {
  for_each = var.enrol

  triggers_replace = digitalocean_droplet.host[each.key].id

  provisioner "local-exec" {
    command = "${path.module}/hand-over"
    environment = {
      MPYC_PARTY_ADDRESS  = digitalocean_droplet.host[each.key].ipv4_address
      MPYC_PARTY_HOST_KEY = local.host_keys[each.key]
      MPYC_PARTY_TOKEN    = lookup(var.tokens, each.key, "")
    }
  }
}
