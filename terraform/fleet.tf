locals {
  # Where DigitalOcean has droplets and takes custom images.
  regions = [
    "ams3", "atl1", "blr1", "fra1", "lon1", "nyc1", "nyc2", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1",
  ]
  tag = "mpyc-party-${var.network}"
}

module "fleet" {
  source     = "./fleet"
  seed       = var.network
  hub_region = var.hub_region
  parties    = var.parties
}

resource "digitalocean_tag" "network" {
  name = local.tag
}
