# Wrong variables are refused before anything is made.

variables {
  network    = "example"
  hub_region = "fra1"
  parties    = { ams3 = 2 }
  image      = "tests/image.gz"
  ssh_keys   = ["3b:16:bf:e4"]
}

run "good_ones_are_accepted" {
  command = plan

  assert {
    condition     = length(digitalocean_droplet.host) == 3
    error_message = "a hub and two parties"
  }
  assert {
    condition     = toset(digitalocean_custom_image.party.regions) == toset(["fra1", "ams3"])
    error_message = "the image is where droplets are"
  }
  assert {
    condition     = length(digitalocean_firewall.network.inbound_rule) == 4
    error_message = "SSH, ICMP, and TCP and UDP of one port"
  }
}

run "no_ssh_key" {
  command = plan
  variables {
    ssh_keys = []
  }
  expect_failures = [var.ssh_keys]
}

run "half_a_party" {
  command = plan
  variables {
    parties = { ams3 = 1.5 }
  }
  expect_failures = [var.parties]
}

run "fewer_than_none" {
  command = plan
  variables {
    parties = { ams3 = -1 }
  }
  expect_failures = [var.parties]
}

run "no_such_region" {
  command = plan
  variables {
    parties = { mars1 = 1 }
  }
  expect_failures = [var.parties]
}

run "no_such_region_for_the_hub" {
  command = plan
  variables {
    hub_region = "mars1"
  }
  expect_failures = [var.hub_region]
}

run "name_of_the_network" {
  command = plan
  variables {
    network = "My network"
  }
  expect_failures = [var.network]
}

run "ssh_over_ipv6" {
  command = plan
  variables {
    ssh_from = ["::/0"]
  }
  expect_failures = [var.ssh_from]
}

run "image_not_compressed" {
  command = plan
  variables {
    image = "variables.tf"
  }
  expect_failures = [var.image]
}

run "port_out_of_range" {
  command = plan
  variables {
    ports = [70000]
  }
  expect_failures = [var.ports]
}

run "token_for_a_host_that_is_not_there" {
  command = plan
  variables {
    enrol = ["party-00000000"]
  }
  expect_failures = [var.enrol]
}
