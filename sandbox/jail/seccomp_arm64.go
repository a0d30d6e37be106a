package jail

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

var deniedCallsHere = []uint32{unix.SYS_KEXEC_FILE_LOAD}

// identityCalls change the user of a process or the owner of a file.
var identityCalls = []uint32{
	unix.SYS_SETGROUPS, unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID,
	unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT,
}
