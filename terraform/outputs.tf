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
