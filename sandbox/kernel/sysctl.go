package kernel

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// writeSysctl sets one value below net in the calling thread's namespace.
func writeSysctl(key, value string) error {
	path, err := sysctlPath(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		var errno unix.Errno
		if errors.As(err, &errno) {
			return faultf(errno, "cannot stat %s: %s", path, words(errno))
		}
		return err
	}
	_, err = f.WriteString(value + "\n")
	if closed := f.Close(); err == nil {
		err = closed
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return faultf(errno, "setting key %q: %s", key, words(errno))
	}
	return err
}

// sysctlPath is the file of a key below net. As with sysctl(8) the first
// separator decides: after a dot, a slash stands for a dot in a name
// ("net.ipv4.conf.eth0/10.rp_filter"); after a slash everything is literal.
func sysctlPath(key string) (string, error) {
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		key = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, key)
	}
	parts := strings.Split(key, "/")
	for _, part := range parts {
		if part == "" || part[0] == '.' || strings.ContainsFunc(part, notInSysctl) {
			return "", faultf(unix.EINVAL, "%q is not a sysctl", key)
		}
	}
	if parts[0] != "net" || len(parts) < 3 {
		return "", faultf(unix.EACCES, "%q is not below net", key)
	}
	if key == "net/netfilter/nf_hooks_lwtunnel" {
		return "", faultf(unix.EACCES, "%q belongs to the whole machine", key) // and can't be taken back
	}
	return "/proc/sys/" + key, nil
}

func notInSysctl(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-.@", r))
}
