# A Python that runs MPyC, with what makes it fast. The version and hash of MPyC are those that the
# agent pins for everybody.
{
  python3,
  fetchPypi,
  extraPackages ? (_: [ ]),
}:
let
  pins = builtins.readFile ./party/src/runner/engine/mpyc/python/requirements.txt;
  pin = builtins.match ".*\nmpyc==([0-9.]+)[^:]*:([0-9a-f]{64}).*" pins;
  version = builtins.elemAt pin 0;

  mpyc =
    packages:
    packages.buildPythonPackage {
      pname = "mpyc";
      inherit version;
      format = "wheel";
      src = fetchPypi {
        pname = "mpyc";
        inherit version;
        format = "wheel";
        dist = "py3";
        python = "py3";
        sha256 = builtins.elemAt pin 1;
      };
      pythonImportsCheck = [ "mpyc.runtime" ];
    };
in
python3.withPackages (
  packages:
  [
    (mpyc packages)
    packages.gmpy2
    packages.numpy
    packages.uvloop
  ]
  ++ extraPackages packages
)
// {
  mpyc = mpyc python3.pkgs;
}
