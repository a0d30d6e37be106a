package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The file tree. The yard makes a template on disk (base: what every machine
// sees read-only at /opt/kabel). A box has a small tree with all that only the
// outside can give: the host's /usr, device nodes, the template. Each machine
// has a tmpfs of its own for a root, with those bound into it.

const baseDir = "/opt/kabel"

// newRoot is where a new root is mounted before pivot_root. It exists everywhere
// and nothing that is needed later is below it.
const newRoot = "/tmp"

const plain = unix.MS_NOSUID | unix.MS_NODEV

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s %s: %w", fstype, target, err)
	}
	return nil
}

// first returns the first error of steps that are done one after the other.
func first(steps ...func() error) error {
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

// enterRoot makes the tree below newRoot this process's root and lets go of the
// old one.
func enterRoot() error {
	return first(
		func() error { return unix.Chdir(newRoot) },
		func() error { return unix.PivotRoot(".", ".") },
		func() error { return unix.Unmount(".", unix.MNT_DETACH) },
		func() error { return unix.Chdir("/") },
	)
}

// treeFDs are the mounts that the yard hands to a box init: taken by descriptor,
// so that it doesn't matter whether the box could walk to them.
func treeFDs(sources ...string) (fds []int, err error) {
	for _, s := range sources {
		fd, err := unix.OpenTree(unix.AT_FDCWD, s, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			closeAll(fds)
			return nil, fmt.Errorf("open_tree %s: %w", s, err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// attach puts a mount from treeFDs in place.
func attach(fd int, target string, attrs uint64) error {
	if attrs != 0 {
		err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attrs})
		if err != nil {
			return fmt.Errorf("mount_setattr %s: %w", target, err)
		}
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount %s: %w", target, err)
	}
	return nil
}

var deviceNodes = []string{"null", "zero", "full", "random", "urandom", "tty"}

// buildBox makes the box's tree and enters it. fds are those of /usr, of the
// template and, if there is one, of the tun device.
func buildBox(fds []int) error {
	const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	at := func(p string) string { return filepath.Join(newRoot, p) }
	links, err := usrLinks()
	if err != nil {
		return err
	}
	return first(
		func() error { return mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return mount("box", newRoot, "tmpfs", plain, "size=256k,nr_inodes=64,mode=755") },
		func() error { return makeDirs(newRoot, "usr", "base", "dev", "proc", "sys", newRoot) },
		func() error { return attach(fds[0], at("usr"), readOnly) },
		func() error { return attach(fds[1], at("base"), readOnly) },
		func() error {
			return mount("dev", at("dev"), "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "size=64k,nr_inodes=32,mode=755")
		},
		func() error { return makeDirs(at("dev"), "net", "pts", "shm") },
		func() error {
			for _, n := range deviceNodes {
				if err := bindNode("/dev/"+n, at("dev/"+n)); err != nil {
					return err
				}
			}
			if len(fds) > 2 {
				if err := touch(at("dev/net/tun")); err != nil {
					return err
				}
				return attach(fds[2], at("dev/net/tun"), 0)
			}
			return nil
		},
		func() error {
			return makeLinks(at("dev"), map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
				"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"})
		},
		func() error {
			return mount("", at("dev"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NOEXEC, "")
		},
		func() error { return mount("proc", at("proc"), "proc", plain|unix.MS_NOEXEC, "") },
		func() error { return mount("sysfs", at("sys"), "sysfs", plain|unix.MS_NOEXEC, "") },
		func() error { return makeLinks(newRoot, links) },
		enterRoot,
	)
}

// buildMachine makes a machine's tree, in the box's, and enters it. devpts is a
// mount from newDevpts.
func buildMachine(name string, filesMiB, devpts int) error {
	at := func(p string) string { return filepath.Join(newRoot, p) }
	links, err := usrLinks()
	if err != nil {
		return err
	}
	return first(
		func() error { return mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error {
			return mount("root", newRoot, "tmpfs", plain, fmt.Sprintf("size=%dm,nr_inodes=8192,mode=755", filesMiB))
		},
		func() error {
			return makeDirs(newRoot, "usr", "dev", "proc", "sys", "etc", "home", "mnt", "opt", baseDir, "srv",
				"run", "run/netns", "run/lock", "var", "var/lib", "var/log", "var/cache", "root")
		},
		func() error { return makeLinks(newRoot, links) },
		func() error { return makeLinks(at("var"), map[string]string{"run": "/run", "lock": "/run/lock"}) },
		func() error {
			return errors.Join(os.Mkdir(at("tmp"), 0o1777), os.Mkdir(at("var/tmp"), 0o1777),
				os.Chmod(at("tmp"), 0o1777|fs.ModeSticky), os.Chmod(at("var/tmp"), 0o1777|fs.ModeSticky))
		},
		func() error { return mount("/usr", at("usr"), "", unix.MS_BIND|unix.MS_REC, "") },
		func() error { return mount("/base", at(baseDir), "", unix.MS_BIND, "") },
		func() error { return mount("/dev", at("dev"), "", unix.MS_BIND|unix.MS_REC, "") },
		func() error { return attach(devpts, at("dev/pts"), 0) },
		func() error { return mount("shm", at("dev/shm"), "tmpfs", plain, "size=4m,nr_inodes=256,mode=1777") },
		func() error { return mount("proc", at("proc"), "proc", plain|unix.MS_NOEXEC, "") },
		// Twice, because `ip netns exec` takes one away before it mounts its own,
		// which the kernel allows only where there is another; the box's, because
		// the machine's would be in the way of itself.
		func() error { return mount("/sys", at("sys"), "", unix.MS_BIND, "") },
		func() error { return mount("sysfs", at("sys"), "sysfs", plain|unix.MS_NOEXEC, "") },
		func() error { return fillEtc("/base/etc", at("etc"), name) },
		// What `ip netns add` does when it is used for the first time.
		func() error { return mount(at("run/netns"), at("run/netns"), "", unix.MS_BIND, "") },
		func() error { return mount("", at("run/netns"), "", unix.MS_SHARED, "") },
		enterRoot,
	)
}

// usrLinks are the links of a merged /usr, as the host has them: bin → usr/bin.
func usrLinks() (map[string]string, error) {
	links := map[string]string{}
	for _, n := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		switch target, err := os.Readlink("/" + n); {
		case err == nil:
			links[n] = target
		case errors.Is(err, unix.EINVAL):
			return nil, fmt.Errorf("/%s is not a link into /usr: this system is not merged", n)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return links, nil
}

func makeDirs(root string, names ...string) error {
	for _, n := range names {
		if err := os.Mkdir(filepath.Join(root, n), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func makeLinks(dir string, links map[string]string) error {
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func touch(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// bindNode binds one of the host's device nodes; a user namespace can't make
// its own.
func bindNode(node, target string) error {
	if err := touch(target); err != nil {
		return err
	}
	return mount(node, target, "", unix.MS_BIND, "")
}

// ownEtc are the files of /etc that a tutorial may edit; the rest are links into
// the template, because a link costs a tenth of a small file.
var ownEtc = map[string]bool{"passwd": true, "group": true, "resolv.conf": true, "nsswitch.conf": true,
	"bash.bashrc": true, "profile": true, "rt_tables": true, "sysctl.conf": true}

// fillEtc makes a machine's /etc from the template.
func fillEtc(template, etc, name string) error {
	err := copyEtc(template, etc, baseDir+"/etc")
	if err != nil {
		return err
	}
	hosts := "127.0.0.1 localhost\n127.0.1.1 " + name + "\n::1 localhost ip6-localhost ip6-loopback\n"
	return errors.Join(
		os.Mkdir(filepath.Join(etc, "sysctl.d"), 0o755),
		os.Symlink("../sysctl.conf", filepath.Join(etc, "sysctl.d/99-sysctl.conf")), // as Debian has it
		os.WriteFile(filepath.Join(etc, "hostname"), []byte(name+"\n"), 0o644),
		os.WriteFile(filepath.Join(etc, "hosts"), []byte(hosts), 0o644))
}

func copyEtc(from, to, visible string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		src, dst, vis := filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), filepath.Join(visible, e.Name())
		switch {
		case e.Name() == "iproute2": // its rt_tables is edited
			if err = os.Mkdir(dst, 0o755); err == nil {
				err = copyEtc(src, dst, vis)
			}
		case ownEtc[e.Name()]:
			var b []byte
			if b, err = os.ReadFile(src); err == nil {
				err = os.WriteFile(dst, b, 0o644)
			}
		default:
			err = os.Symlink(vis, dst)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeBase writes the template: etc/ and the stubs in bin/.
func makeBase(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	write := func(name, content string, mode fs.FileMode) error {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			return err
		}
		return os.Chmod(p, mode) // whatever the umask is
	}
	for name, content := range etcFiles {
		if err := write("etc/"+name, content, 0o644); err != nil {
			return err
		}
	}
	for name, content := range stubs {
		if err := write("bin/"+name, content, 0o755); err != nil {
			return err
		}
	}
	for _, name := range etcFromHost {
		b, err := os.ReadFile(filepath.Join("/etc", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := write("etc/"+name, string(b), 0o644); err != nil {
			return err
		}
	}
	if err := copyIproute2(filepath.Join(dir, "etc/iproute2")); err != nil {
		return err
	}
	return copyAlternatives(filepath.Join(dir, "etc/alternatives"))
}

// copyIproute2 takes the names of tables and protocols, from where this version
// of iproute2 has them.
func copyIproute2(to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, from := range []string{"/usr/share/iproute2", "/etc/iproute2"} {
		entries, err := os.ReadDir(from)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			b, err := os.ReadFile(filepath.Join(from, e.Name()))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyAlternatives takes Debian's links to the chosen iptables, awk, nc, editor.
func copyAlternatives(to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir("/etc/alternatives")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join("/etc/alternatives", e.Name()))
		if err != nil || strings.HasSuffix(e.Name(), ".gz") { // not a link, or a manual page
			continue
		}
		if err := os.Symlink(target, filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// findTun finds a tun device node that a box's root, who is nobody outside, may
// open; where the host's is for root only, a copy of it is made.
func findTun(makeAt string) (string, error) {
	const node = "/dev/net/tun"
	info, err := os.Stat(node)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o006 == 0o006 {
		return node, nil
	}
	if err := os.RemoveAll(makeAt); err != nil {
		return "", err
	}
	if err := unix.Mknod(makeAt, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		return "", fmt.Errorf("%s is for root only, and: %w", node, err)
	}
	return makeAt, os.Chmod(makeAt, 0o666)
}
