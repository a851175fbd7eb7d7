output "known_hosts" {
  description = "The SSH host keys as known_hosts has them: terraform output -raw known_hosts >> ~/.ssh/known_hosts."
  value = join("", [
    for name, key in local.host_keys : "${digitalocean_droplet.host[name].ipv4_address} ${key}\n" if key != ""
  ])
}

output "hosts" {
  description = "The fleet as hosts/hosts.json has it: terraform output -json hosts."
  value = {
    for name, host in module.fleet.hosts : name => {
      address  = digitalocean_droplet.host[name].ipv4_address
      network  = var.network
      platform = "digitalocean"
      region   = host.region
      role     = host.role
      system   = "x86_64-linux"
    }
  }
}
