# A card for a Raspberry Pi 4: a party that enrols with the token in the file mpyc-party.token on the
# card's first partition.
{
  imports = [
    ../hosts/raspberry-pi-4.nix
    ../hosts/party.nix
    # At home, where else. Whom the authority has put into that group is for it to say: nobody, at first.
    ../hosts/behind-nat.nix
  ];

  networking.hostName = "mpyc-party";
  image.baseName = "mpyc-party-raspberry-pi-4";
  sdImage.firmwareSize = 64;
}
