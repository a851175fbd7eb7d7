resource "digitalocean_droplet" "host" {
  for_each = module.fleet.hosts

  name     = each.key
  region   = each.value.region
  size     = var.size
  image    = digitalocean_custom_image.party.id
  ssh_keys = var.ssh_keys
  tags     = [digitalocean_tag.network.id]

  # As cloud-init reads it.
  user_data = <<-END
    #cloud-config
    ssh_keys:
      ed25519_private: |
        ${indent(8, try(file(terraform_data.host_key[each.key].output), ""))}
  END

  timeouts {
    delete = "5m"
  }

  lifecycle {
    # All would replace every droplet, and with the hub the authority. A new image, SSH key or host key is
    # for new droplets; those that are there are brought up to date by Colmena.
    ignore_changes = [image, ssh_keys, user_data]
  }
}

resource "digitalocean_firewall" "network" {
  name = local.tag
  tags = [digitalocean_tag.network.id]

  inbound_rule {
    protocol         = "tcp"
    port_range       = "22"
    source_addresses = var.ssh_from
  }
  inbound_rule {
    protocol         = "icmp"
    source_addresses = ["0.0.0.0/0"]
  }
  dynamic "inbound_rule" {
    for_each = setproduct(["tcp", "udp"], var.ports)
    content {
      protocol         = inbound_rule.value[0]
      port_range       = tostring(inbound_rule.value[1])
      source_addresses = ["0.0.0.0/0"]
    }
  }

  dynamic "outbound_rule" {
    for_each = ["tcp", "udp"]
    content {
      protocol              = outbound_rule.value
      port_range            = "1-65535"
      destination_addresses = ["0.0.0.0/0"]
    }
  }
  outbound_rule {
    protocol              = "icmp"
    destination_addresses = ["0.0.0.0/0"]
  }
}
