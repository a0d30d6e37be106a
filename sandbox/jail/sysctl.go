package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// machineSysctls are settings that every network namespace has and whoever is root
// of one may write, but which are the whole machine's all the same. To cover their
// files would not do: another namespace has files of its own below the same path,
// and a learner can mount another /proc, which the kernel would refuse where part of
// one is covered for good. So a BPF program of the yard's control group refuses to
// write them, however they were opened: for every program of every world, in every
// namespace. The test that writes all settings found them.
var machineSysctls = []string{
	"net/netfilter/nf_hooks_lwtunnel", // can be turned on, and off only by a restart
}

// guardSysctls refuses to the processes of a control group of version 2, and of
// those below it, to write machineSysctls. It ends with the group.
func guardSysctls(group string) error {
	program, err := loadSysctlGuard(machineSysctls)
	if err != nil {
		return err
	}
	defer unix.Close(program)
	dir, err := unix.Open(group, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", group, err)
	}
	defer unix.Close(dir)
	attr := struct{ target, program, kind, flags uint32 }{uint32(dir), uint32(program), unix.BPF_CGROUP_SYSCTL, unix.BPF_F_ALLOW_MULTI}
	if _, err := bpfCall(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return fmt.Errorf("attach a BPF program to %s: %w", group, err)
	}
	return nil
}

// unguardedSysctls says what can be written where guardSysctls can't be had.
func unguardedSysctls(why error) []string {
	var missing []string
	for _, name := range machineSysctls {
		if _, err := os.Stat(filepath.Join("/proc/sys", name)); err == nil {
			missing = append(missing, fmt.Sprintf("cgroup BPF: a world can set %s for the whole machine (%v)", strings.ReplaceAll(name, "/", "."), why))
		}
	}
	return missing
}

var errNoUnified = errors.New("no control group of version 2 can be used")

func bpfCall(command uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// bpfInsn is struct bpf_insn, linux/bpf.h.
type bpfInsn struct {
	code uint8
	regs uint8 // the source in the high half
	off  int16
	imm  int32
}

// The few instructions that the program is made of, on 64 bits, by the names that
// the kernel's own tools give them.
func bpfMov(dst, src uint8) bpfInsn        { return bpfInsn{code: 0xbf, regs: src<<4 | dst} }
func bpfMovImm(dst uint8, v int32) bpfInsn { return bpfInsn{code: 0xb7, regs: dst, imm: v} }
func bpfAddImm(dst uint8, v int32) bpfInsn { return bpfInsn{code: 0x07, regs: dst, imm: v} }
func bpfZero(dst uint8, at int16) bpfInsn  { return bpfInsn{code: 0x7a, regs: dst, off: at} }
func bpfLoad(dst, src uint8, at int16) bpfInsn {
	return bpfInsn{code: 0x79, regs: src<<4 | dst, off: at}
}
func bpfLoad32(dst, src uint8, at int16) bpfInsn {
	return bpfInsn{code: 0x61, regs: src<<4 | dst, off: at}
}
func bpfCallHelper(id int32) bpfInsn { return bpfInsn{code: 0x85, imm: id} }
func bpfExit() bpfInsn               { return bpfInsn{code: 0x95} }
func bpfUnlessZero(r uint8, skip int16) bpfInsn {
	return bpfInsn{code: 0x55, regs: r, off: skip}
}
func bpfUnlessEqual(a, b uint8, skip int16) bpfInsn {
	return bpfInsn{code: 0x5d, regs: b<<4 | a, off: skip}
}

// bpfLoadImm takes the room of two.
func bpfLoadImm(dst uint8, v uint64) []bpfInsn {
	return []bpfInsn{{code: 0x18, regs: dst, imm: int32(uint32(v))}, {imm: int32(uint32(v >> 32))}}
}

const (
	bpfStack       = 10  // the register of the frame
	helperName     = 101 // BPF_FUNC_sysctl_get_name
	sysctlNameRoom = 64
)

// sysctlGuard is the program: it answers 0, which is EPERM, to a write of one of
// the names, and else 1. Its argument is struct bpf_sysctl, which begins with
// whether it is a write.
func sysctlGuard(names []string) []bpfInsn {
	p := []bpfInsn{bpfMov(6, 1), bpfLoad32(7, 6, 0), bpfMovImm(0, 1), bpfUnlessZero(7, 1), bpfExit()}
	for at := int16(-sysctlNameRoom); at < 0; at += 8 {
		p = append(p, bpfZero(bpfStack, at))
	}
	p = append(p, bpfMov(1, 6), bpfMov(2, bpfStack), bpfAddImm(2, -sysctlNameRoom), bpfMovImm(3, sysctlNameRoom), bpfMovImm(4, 0), bpfCallHelper(helperName))
	for _, name := range names {
		padded := make([]byte, (len(name)/8+1)*8) // with the zero at its end
		copy(padded, name)
		words := len(padded) / 8
		for i := range words {
			rest := int16((words-i-1)*4 + 2) // to the next name
			p = append(p, bpfLoad(1, bpfStack, int16(8*i-sysctlNameRoom)))
			p = append(p, bpfLoadImm(2, binary.NativeEndian.Uint64(padded[8*i:]))...)
			p = append(p, bpfUnlessEqual(1, 2, rest))
		}
		p = append(p, bpfMovImm(0, 0), bpfExit())
	}
	return append(p, bpfMovImm(0, 1), bpfExit())
}

// progLoad is the part of union bpf_attr that BPF_PROG_LOAD reads.
type progLoad struct {
	kind, count      uint32
	program, license uint64
	_                [6]uint32 // a log, a version, flags
	_                [16]byte  // a name
	_                uint32    // a device
	attachedAs       uint32
}

func loadSysctlGuard(names []string) (int, error) {
	program, license := sysctlGuard(names), []byte("GPL\x00")
	var pin runtime.Pinner // the kernel gets them as numbers
	defer pin.Unpin()
	pin.Pin(&program[0])
	pin.Pin(&license[0])
	attr := progLoad{kind: unix.BPF_PROG_TYPE_CGROUP_SYSCTL, count: uint32(len(program)), attachedAs: unix.BPF_CGROUP_SYSCTL,
		program: uint64(uintptr(unsafe.Pointer(&program[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	fd, err := bpfCall(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return -1, fmt.Errorf("load a BPF program: %w", err)
	}
	return fd, nil
}
