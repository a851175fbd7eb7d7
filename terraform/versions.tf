# The provider takes its credentials from the environment: DIGITALOCEAN_TOKEN, SPACES_ACCESS_KEY_ID and
# SPACES_SECRET_ACCESS_KEY. None of them is a variable, so none is in the state.

terraform {
  # Ephemeral variables came with 1.10.
  required_version = ">= 1.10"

  required_providers {
    digitalocean = {
      source  = "digitalocean/digitalocean"
      version = "~> 2.99"
    }
  }
}
