package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// shimPlan is what the shim is told, as its only argument. Numbers are of
// descriptors that it inherited, 0 if there is none.
type shimPlan struct {
	Program  program `json:"program"`
	Complain int     `json:"complain"` // where to say that a program can't be started
	Netns    int     `json:"netns,omitempty"`
	Joins    []int   `json:"joins,omitempty"`
	OneID    bool    `json:"one_id,omitempty"`
	Limits   Limits  `json:"limits"`
	Counted  bool    `json:"counted,omitempty"` // see mcPlan
}

// keptCapabilities are a learner's, in the machine's user namespace. All others
// are dropped for good: without SYS_PTRACE and SYS_RESOURCE nobody reaches into
// an init or raises a limit.
var keptCapabilities = map[int]bool{
	unix.CAP_CHOWN: true, unix.CAP_DAC_OVERRIDE: true, unix.CAP_FOWNER: true, unix.CAP_FSETID: true,
	unix.CAP_KILL: true, unix.CAP_SETUID: true, unix.CAP_SETGID: true, unix.CAP_SYS_CHROOT: true,
	unix.CAP_SYS_ADMIN: true, unix.CAP_NET_ADMIN: true, unix.CAP_NET_RAW: true,
	unix.CAP_NET_BIND_SERVICE: true, unix.CAP_NET_BROADCAST: true,
}

// The exit codes of a shell that can't start a program.
const (
	exitCannotExecute = 126
	exitNotFound      = 127
)

// shim gives up everything that a learner must not have and becomes the
// learner's program. It works on one thread, the one that calls exec, because
// that is the only one that survives it: to drop a capability in every thread of
// an init costs 20 ms.
func shim() error {
	runtime.LockOSThread()
	if len(os.Args) != 2 {
		return errors.New("is not for direct use")
	}
	var plan shimPlan
	if err := json.Unmarshal([]byte(os.Args[1]), &plan); err != nil {
		return err
	}
	complain := func(code int, format string, a ...any) {
		fmt.Fprintf(os.NewFile(uintptr(plan.Complain), "complaints"), format+"\n", a...)
		os.Exit(code)
	}
	if err := plan.drop(); err != nil {
		complain(exitCannotExecute, "kabel: %v", err)
	}
	p := plan.Program
	if err := unix.Chdir(p.Dir); err != nil {
		complain(exitCannotExecute, "cd: %s: %s", p.Dir, message(err))
	}
	if p.Service != "" { // it keeps the descriptor, to say when it is ready
		_, err := unix.FcntlInt(uintptr(plan.Complain), unix.F_SETFD, 0)
		if err == nil {
			err = unix.Exec(self, []string{p.Service, strconv.Itoa(plan.Complain)}, initEnv())
		}
		complain(exitCannotExecute, "kabel: %s: %v", p.Service, err)
	}
	switch err := become(p.Argv, p.Env); {
	case err == errNotFound:
		complain(exitNotFound, "%s: command not found", p.Argv[0])
	case errors.Is(err, unix.ENOENT):
		complain(exitNotFound, "%s: %s", p.Argv[0], message(err))
	default:
		complain(exitCannotExecute, "%s: %s", p.Argv[0], message(err))
	}
	return nil
}

// drop does all that needs rights, then gives them up.
func (s *shimPlan) drop() error {
	for _, j := range s.Joins {
		if _, err := unix.Write(j, []byte("0")); err != nil {
			return fmt.Errorf("join the cgroup: %w", err)
		}
	}
	if s.Netns != 0 {
		if err := unix.Setns(s.Netns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
	}
	// When memory is short the learner's programs go, not the inits.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		return err
	}
	if !s.Counted {
		if err := s.Limits.setLearnerRlimits(); err != nil {
			return err
		}
	}
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if keptCapabilities[c] {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if err != nil && err != unix.EINVAL { // EINVAL: a kernel that has fewer
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := handleHidden(sigDefault); err != nil {
		return err
	}
	return loadSeccomp(s.OneID)
}

var errNotFound = errors.New("command not found")

// become is execvp(3) with the new environment's PATH. It returns only what went
// wrong.
func become(argv, env []string) error {
	if strings.Contains(argv[0], "/") {
		return execOrScript(argv[0], argv, env)
	}
	var denied error
	for dir := range strings.SplitSeq(lookup(env, "PATH"), ":") {
		if dir == "" {
			dir = "."
		}
		switch err := execOrScript(dir+"/"+argv[0], argv, env); err {
		case unix.ENOENT, unix.ENOTDIR:
		case unix.EACCES:
			denied = err
		default:
			return err
		}
	}
	if denied != nil {
		return denied
	}
	return errNotFound
}

// execOrScript runs a file without a header by the shell, as shells do.
func execOrScript(path string, argv, env []string) error {
	err := unix.Exec(path, argv, env)
	if err == unix.ENOEXEC {
		return unix.Exec("/bin/sh", append([]string{"/bin/sh", path}, argv[1:]...), env)
	}
	return err
}

func lookup(env []string, name string) string {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// message is an error as C programs print it: "Permission denied".
func message(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
