package jail

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

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
	sealed := os.NewFile(uintptr(fd), name)
	err = func() error {
		own, err := os.Open(self)
		if err != nil {
			return err
		}
		defer own.Close()
		if _, err := io.Copy(sealed, own); err != nil {
			return err
		}
		_, err = unix.FcntlInt(sealed.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
		return err
	}()
	if err != nil {
		return nil, fmt.Errorf("copy of the program: %w", errors.Join(err, sealed.Close()))
	}
	return sealed, nil
}
