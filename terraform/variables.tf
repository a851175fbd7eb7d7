variable "network" {
  description = "Name of the network. Tags carry it, host names are derived from it, and the hub makes the authority for it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.network))
    error_message = "The network's name is 1 to 63 lower-case letters, digits and inner hyphens."
  }
}

variable "hub_region" {
  description = "Region of the hub, to which the image is imported first. Another one makes another hub, with another authority."
  type        = string

  validation {
    condition     = contains(local.regions, var.hub_region)
    error_message = "hub_region is one of ${join(", ", local.regions)}."
  }
}

variable "parties" {
  description = "How many parties each region has, as in { ams3 = 2, fra1 = 1 }."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for region in keys(var.parties) : contains(local.regions, region)])
    error_message = "A region of parties is one of ${join(", ", local.regions)}."
  }
  validation {
    condition     = alltrue([for count in values(var.parties) : count >= 0 && floor(count) == count])
    error_message = "Counts of parties are whole and not negative."
  }
}

variable "size" {
  description = "Size of the droplets."
  type        = string
  default     = "s-1vcpu-1gb"

  validation {
    condition     = can(regex("^[a-z0-9]+(-[a-z0-9.]+)+$", var.size))
    error_message = "A size is written as in «s-1vcpu-1gb»."
  }
}

variable "image" {
  description = "The image: the file that nix build .#digitalOceanImage makes."
  type        = string

  validation {
    condition     = can(regex("[.](gz|bz2)$", var.image))
    error_message = "DigitalOcean imports images that are compressed with gzip or bzip2."
  }
  validation {
    condition     = fileexists(var.image)
    error_message = "The image is not there: make it with nix build .#digitalOceanImage."
  }
}

variable "ssh_keys" {
  description = "Fingerprints or numbers of SSH keys at DigitalOcean, for root on every new droplet."
  type        = set(string)

  validation {
    condition     = length(var.ssh_keys) > 0
    error_message = "A droplet made of a custom image needs at least one SSH key."
  }
}

variable "ssh_from" {
  description = "Where SSH may come from, as CIDR blocks of IPv4: custom images have no IPv6."
  type        = set(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = alltrue([for block in var.ssh_from : can(cidrnetmask(block))])
    error_message = "ssh_from holds IPv4 CIDR blocks, as in «203.0.113.0/24»."
  }
}

variable "ports" {
  description = "Public ports of hub and parties, TCP and UDP."
  type        = set(number)
  default     = [4747]

  validation {
    condition     = alltrue([for port in var.ports : port >= 1 && port <= 65535 && floor(port) == port])
    error_message = "A port is a whole number from 1 to 65535."
  }
}

variable "enrol" {
  description = "Hosts that get the enrolment token in tokens, once."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for host in var.enrol : try(module.fleet.hosts[host].role, "") == "party"])
    error_message = "enrol names hosts that are parties: terraform output hosts lists them."
  }
}

variable "host_keys" {
  description = "SSH host keys by host, as in { party-1a2b3c4d = \"ssh-ed25519 AAAA…\" }, of droplets whose keys were not made here."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in values(var.host_keys) : can(regex("^[a-z0-9@.-]+ [A-Za-z0-9+/=]+$", key))])
    error_message = "A host key is its type and the key, as in a file /etc/ssh/ssh_host_ed25519_key.pub, without the comment."
  }
}

variable "tokens" {
  description = "Enrolment tokens by host, in neither state nor plan nor log. Set by TF_VAR_tokens."
  type        = map(string)
  default     = {}
  ephemeral   = true
  sensitive   = true
}
