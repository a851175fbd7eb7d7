# What the units of mpyc-party give up: everything but what the other sets give back.
{
  common = {
    CapabilityBoundingSet = "";
    KeyringMode = "private";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateIPC = true;
    PrivateMounts = true;
    PrivateTmp = true;
    PrivateUsers = true;
    ProcSubset = "pid";
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictAddressFamilies = "none";
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    SystemCallFilter = [
      "@system-service"
      "~@privileged @resources"
    ];
    UMask = "0077";
  };

  # Sockets to others.
  network.RestrictAddressFamilies = "AF_INET AF_INET6 AF_UNIX";

  # And what tells the machine's own addresses, for parties to announce.
  announce.RestrictAddressFamilies = "AF_INET AF_INET6 AF_UNIX AF_NETLINK";

  # What the runner needs to put a program into namespaces, a private root and landlock. Code that
  # libffi or a compiler makes at run time is Python's everyday life.
  sandbox = {
    MemoryDenyWriteExecute = false;
    ProtectHostname = false;
    RestrictNamespaces = "cgroup ipc mnt net pid user uts";
    SystemCallFilter = [
      "@system-service @mount setdomainname sethostname"
      "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp"
      "~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @resources @swap"
    ];
  };
}
