package jail

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// A box maps boxIDs user and group ids to a range of the host's that belongs to
// nobody: 0x70000000 and up is outside of what distributions, containers and
// /etc/subuid give out.
const (
	boxIDs    = 65536
	firstID   = 0x70000000
	idSlots   = 4000
	wholeIDs  = 1<<32 - 1
	oneIDOnly = 1
)

// idRange says which ids boxes may have.
type idRange struct {
	size   int  // ids per box
	slots  int  // how many boxes
	shared bool // all boxes have the same ids: all that a user namespace has
}

// readIDs looks at this process's own user namespace: the initial one has all
// ids, another one only those that were mapped.
func readIDs() (idRange, bool, error) {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return idRange{}, false, err
	}
	return parseIDs(string(b))
}

func parseIDs(uidMap string) (ids idRange, rootless bool, err error) {
	next := 0
	for line := range strings.Lines(uidMap) {
		var inside, outside, size int
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			return idRange{}, false, fmt.Errorf("uid_map %q: %w", line, err)
		}
		if inside == 0 && outside == 0 && size >= wholeIDs {
			return idRange{size: boxIDs, slots: idSlots}, false, nil
		}
		if inside != next { // only what is mapped without a gap is of use
			break
		}
		next += size
	}
	size := min(next, boxIDs)
	if size < boxIDs { // some, but too few for the usual system users
		size = oneIDOnly
	}
	return idRange{size: size, slots: 1, shared: true}, true, nil
}

// idMap maps ids of a new user namespace, beginning at outside. Id 0 is mapped
// on its own, because a map may not cross the border between two extents of its
// parent's, and an ordinary user's own id and subordinate ids are two.
func idMap(outside, size int) []syscall.SysProcIDMap {
	m := []syscall.SysProcIDMap{{ContainerID: 0, HostID: outside, Size: 1}}
	if size > 1 {
		m = append(m, syscall.SysProcIDMap{ContainerID: 1, HostID: outside + 1, Size: size - 1})
	}
	return m
}

// outside is the first host id of a slot.
func (r idRange) outside(slot int) int {
	if r.shared {
		return 0
	}
	return firstID + slot*boxIDs
}
