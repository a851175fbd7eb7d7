# The expansion of regions and counts; needs no provider.

variables {
  seed       = "example"
  hub_region = "fra1"
  parties    = { ams3 = 2, fra1 = 1 }
}

run "one_host_each" {
  command = apply

  assert {
    condition     = length(output.hosts) == 4
    error_message = "a hub and three parties"
  }
  assert {
    condition = tolist([
      length([for host in values(output.hosts) : host if host.role == "hub"]),
      length([for host in values(output.hosts) : host if host.role == "party" && host.region == "ams3"]),
      length([for host in values(output.hosts) : host if host.role == "party" && host.region == "fra1"]),
    ]) == tolist([1, 2, 1])
    error_message = "as many as each region should have"
  }
  assert {
    condition     = alltrue([for name in keys(output.hosts) : can(regex("^(hub|party)-[0-9a-f]{8}$", name))])
    error_message = "names are role and hash"
  }
  assert {
    condition     = output.hosts["hub-${substr(sha256("example/hub"), 0, 8)}"].region == "fra1"
    error_message = "the hub is where it should be"
  }
}

run "names_stay_when_the_fleet_grows" {
  command = apply

  variables {
    parties = { ams3 = 3, fra1 = 1, nyc3 = 2 }
  }

  assert {
    condition     = length(setsubtract(keys(run.one_host_each.hosts), keys(output.hosts))) == 0
    error_message = "every host of before is there"
  }
}

run "another_fleet_has_other_names" {
  command = apply

  variables {
    seed = "other"
  }

  assert {
    condition     = length(setintersection(keys(run.one_host_each.hosts), keys(output.hosts))) == 0
    error_message = "names are of this fleet alone"
  }
}

run "no_parties" {
  command = apply

  variables {
    parties = {}
  }

  assert {
    condition     = length(output.hosts) == 1
    error_message = "the hub alone"
  }
}
