# An image for DigitalOcean's custom images: a party that enrols with the token in its user data.
{ modulesPath, ... }:
{
  imports = [
    "${modulesPath}/virtualisation/digital-ocean-image.nix"
    ../hosts/digitalocean.nix
    ../hosts/party.nix
  ];

  image.baseName = "mpyc-party-digitalocean";
  # Room for the next generation of the system; the file system grows with the droplet.
  virtualisation.diskSize = 6 * 1024;
}
