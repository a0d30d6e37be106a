package jail

import "testing"

func TestIDsAreReadFromTheOwnUserNamespace(t *testing.T) {
	for _, c := range []struct {
		what, uidMap string
		ids          idRange
		rootless     bool
	}{
		{"the initial namespace has all", "         0          0 4294967295\n", idRange{size: 65536, slots: idSlots}, false},
		{"an ordinary user with subordinate ids", "0 1000 1\n1 100000 65536\n", idRange{size: 65536, slots: 1, shared: true}, true},
		{"an ordinary user without", "0 1000 1\n", idRange{size: 1, slots: 1, shared: true}, true},
		{"too few to be of use", "0 1000 1\n1 100000 100\n", idRange{size: 1, slots: 1, shared: true}, true},
		{"a gap", "0 1000 1\n5000 100000 65536\n", idRange{size: 1, slots: 1, shared: true}, true},
	} {
		ids, rootless, err := parseIDs(c.uidMap)
		if err != nil || ids != c.ids || rootless != c.rootless {
			t.Errorf("%s: got %+v, %v, %v", c.what, ids, rootless, err)
		}
	}
	if _, _, err := parseIDs("zero one two"); err == nil {
		t.Error("nonsense is accepted")
	}
}
