# The hosts of a fleet by name, from regions and counts. Names are stable: one more party in one
# region leaves all others as they are.

variable "seed" {
  description = "What makes the names differ from those of another fleet."
  type        = string
}

variable "hub_region" {
  description = "Region of the hub."
  type        = string
}

variable "parties" {
  description = "How many parties each region has."
  type        = map(number)
}

locals {
  places = concat(
    [{ role = "hub", region = var.hub_region, path = "hub" }],
    flatten([
      for region, count in var.parties : [
        for number in range(count) : {
          role   = "party"
          region = region
          path   = "party/${region}/${number}"
        }
      ]
    ]),
  )
}

output "hosts" {
  description = "Role and region by host name."
  value = {
    for place in local.places :
    "${place.role}-${substr(sha256("${var.seed}/${place.path}"), 0, 8)}" => {
      role   = place.role
      region = place.region
    }
  }
}
