# The image goes through a bucket, from where DigitalOcean imports it. Everybody can read it there:
# it holds no secret, for a party gets its token later.

locals {
  image_key = "${filemd5(var.image)}-${basename(var.image)}"
  # The first one is imported to, the others get a copy.
  image_regions = distinct(concat([var.hub_region], [for host in values(module.fleet.hosts) : host.region]))
  # Spaces are in fewer regions than droplets.
  spaces_region = contains(["ams3", "blr1", "fra1", "lon1", "nyc3", "sfo3", "sgp1", "syd1", "tor1"], var.hub_region) ? var.hub_region : "fra1"
}

# Names of buckets are shared by everybody at DigitalOcean: this one is chosen at random, once.
resource "terraform_data" "bucket" {
  input = uuid()

  lifecycle {
    ignore_changes = [input]
  }
}

resource "digitalocean_spaces_bucket" "images" {
  name   = "mpyc-party-${terraform_data.bucket.output}"
  region = local.spaces_region
  acl    = "private"
}

resource "digitalocean_spaces_bucket_object" "image" {
  region = digitalocean_spaces_bucket.images.region
  bucket = digitalocean_spaces_bucket.images.name
  key    = local.image_key
  source = var.image
  etag   = filemd5(var.image)
  acl    = "public-read"
}

resource "digitalocean_custom_image" "party" {
  name         = local.tag
  url          = "https://${digitalocean_spaces_bucket.images.bucket_domain_name}/${digitalocean_spaces_bucket_object.image.key}"
  regions      = local.image_regions
  distribution = "Unknown OS"

  timeouts {
    create = "30m"
  }
}
