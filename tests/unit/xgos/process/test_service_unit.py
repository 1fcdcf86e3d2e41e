"""The systemd unit: what `systemd-analyze` says of it, and what it must never lose."""

from pathlib import Path

UNIT = Path(__file__).parents[4] / "etc" / "systemd" / "xgos.service"
LARGEST_EXPOSURE = 5.0

NEEDED_CALLS = """
accept4 access arch_prctl bind brk chmod chown clock_gettime clock_nanosleep clone3 close close_range connect dup2
epoll_create1 execve exit exit_group fchown fcntl flock fstat fsync ftruncate futex getdents64 getpid getrandom
getsockopt gettid ioctl kill listen lseek madvise mkdir mmap mprotect munmap newfstatat openat pipe2 poll prctl
pread64 prlimit64 read readlink readlinkat recvfrom recvmsg rename rmdir rseq rt_sigaction rt_sigprocmask
rt_sigreturn sched_getaffinity sched_getscheduler sched_setscheduler sendfile sendmsg sendto set_robust_list
set_tid_address setpriority setsid setsockopt shutdown sigaltstack socket socketpair sysinfo umask uname unlink
unlinkat utimensat vfork wait4 write security verify After Wants Requires Requisite BindsTo PartOf Upholds
Conflicts Type notify NotifyAccess main WatchdogSec KillMode mixed Restart always RestartPreventExitStatus 2
ExecStopPost ExecStart OOMScoreAdjust ProtectControlGroups no ReadWritePaths CAP_SYS_NICE CAP_SYS_PTRACE
CapabilityBoundingSet AF_UNIX AF_NETLINK AF_INET AF_INET6 RestrictAddressFamilies RestrictRealtime no
StateDirectory RuntimeDirectory StateDirectoryMode 0750 UMask 0027 RuntimeDirectoryPreserve yes
CapabilityBoundingSet SystemCallFilter mount init_module ptrace
"""
