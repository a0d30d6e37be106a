package jail

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Descriptors of the elevated process.
const (
	passedFD = 3 // handed on from whoever started us
	mappedFD = 4 // tells that its ids are mapped
)

// Elevate gives an ordinary user what Open needs: it starts this program again,
// with the same arguments, as root of a new user namespace with mounts and a
// network of its own, hands on stdio and, if it is a socket, descriptor 3, waits
// and exits with its code. The ids are the user's own and, where newuidmap and
// /etc/subuid give some, subordinate ones.
//
// As root it returns at once. It must be called early in main, from the main
// goroutine. However the first process ends, the second one ends with it.
func Elevate() error {
	if os.Geteuid() == 0 {
		return endWith(os.Getenv(elevatedBy))
	}
	code, err := elevate()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		err = fmt.Errorf("%w (this system may not let ordinary users make one: see the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)", err)
	}
	if err != nil {
		return fmt.Errorf("jail: a user namespace for an ordinary user: %w", err)
	}
	os.Exit(code)
	return nil
}

func elevate() (int, error) {
	runtime.LockOSThread()
	waits, mapped, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer mapped.Close()
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr, nil, waits}
	if isSocket(passedFD) {
		files[passedFD] = os.NewFile(passedFD, "passed")
	}
	p, err := os.StartProcess(self, append([]string{entryElevated}, os.Args...), &os.ProcAttr{
		Env: append(os.Environ(), elevatedBy+"="+strconv.Itoa(os.Getpid())), Files: files,
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET}})
	waits.Close()
	if err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	go func() { // for as long as this process lives
		for s := range signals {
			if s == unix.SIGTERM || s == unix.SIGHUP { // the others come from a terminal, to both
				_ = p.Signal(s)
			}
		}
	}()
	if err := mapUser(p.Pid); err != nil {
		mapped.Close()
		_, waitErr := p.Wait()
		return 0, errors.Join(err, waitErr)
	}
	if _, err := mapped.Write([]byte{0}); err != nil {
		return 0, err
	}
	state, err := p.Wait()
	if err != nil {
		return 0, err
	}
	status := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// elevated waits until its ids are mapped. It lost its rights by exec, because it
// was nobody then; a second exec, as root, gives it all that its namespace has.
func elevated() error {
	if _, err := unix.Read(mappedFD, make([]byte, 1)); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("no ids were mapped")
	}
	if isSocket(passedFD) {
		if _, err := unix.FcntlInt(passedFD, unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	return unix.Exec(self, os.Args[1:], os.Environ())
}

func isSocket(fd int) bool {
	var s unix.Stat_t
	return unix.Fstat(fd, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// mapUser maps the user to root in the user namespace of pid, and if there are
// subordinate ids, those to 1 and up.
func mapUser(pid int) error {
	uid, gid := os.Getuid(), os.Getgid()
	subUID, uids := subordinate("/etc/subuid", uid)
	subGID, gids := subordinate("/etc/subgid", uid)
	if uids > 0 && gids > 0 {
		err := runMapper("newuidmap", pid, uid, subUID, uids)
		if err == nil {
			return runMapper("newgidmap", pid, gid, subGID, gids)
		}
		if !errors.Is(err, exec.ErrNotFound) {
			return err
		}
	}
	for _, f := range [][2]string{{"setgroups", "deny"}, {"uid_map", fmt.Sprintf("0 %d 1", uid)}, {"gid_map", fmt.Sprintf("0 %d 1", gid)}} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, f[0]), []byte(f[1]), 0); err != nil {
			return err
		}
	}
	return nil
}

func runMapper(tool string, pid, own, sub, count int) error {
	out, err := exec.Command(tool, strconv.Itoa(pid), "0", strconv.Itoa(own), "1", "1", strconv.Itoa(sub), strconv.Itoa(count)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// subordinate finds the first range of a user in /etc/subuid or /etc/subgid.
func subordinate(file string, uid int) (start, count int) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	names := []string{strconv.Itoa(uid)}
	if u, err := user.LookupId(names[0]); err == nil {
		names = append(names, u.Username)
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		f := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(f) != 3 || f[0] != names[0] && f[0] != names[len(names)-1] {
			continue
		}
		start, err1 := strconv.Atoi(f[1])
		count, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && count > 0 {
			return start, min(count, boxIDs)
		}
	}
	return 0, 0
}

// elevatedBy tells the second process which is the first.
const elevatedBy = "KABEL_ELEVATED_BY"

// endWith has this process killed when the one that elevated it ends. It is asked
// for so late because the exec that gave this process its rights forgets it. The
// thread that forked is locked, and waits as long as the first process lives.
func endWith(parent string) error {
	if parent == "" {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("jail: pdeathsig: %w", err)
	}
	if strconv.Itoa(os.Getppid()) != parent {
		return errors.New("jail: the process that elevated this one has ended")
	}
	return os.Unsetenv(elevatedBy)
}

// sealedSelf is a copy of this program that nobody can write to. Where a learner
// has the user's own id, the file on disk is the learner's too, and there is a
// way to it: a script whose interpreter is /proc/self/exe, started by the shim.
func sealedSelf() (*os.File, error) {
	name, flags := "kabel", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	filled := os.NewFile(uintptr(fd), name)
	defer filled.Close() // a file that is open for writing can't be executed
	sealed, err := seal(filled)
	if err != nil {
		return nil, fmt.Errorf("copy of the program: %w", err)
	}
	return sealed, nil
}

func seal(f *os.File) (*os.File, error) {
	own, err := os.Open(self)
	if err != nil {
		return nil, err
	}
	defer own.Close()
	if _, err := io.Copy(f, own); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}
