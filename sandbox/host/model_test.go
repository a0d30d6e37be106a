package host_test

import (
	"testing"

	"go.uber.org/goleak"

	"kabel/sandbox/host"
	"kabel/sandbox/host/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestModelKeepsTheContract(t *testing.T) {
	contract.Test(t, func(t *testing.T) host.Host {
		h := host.NewModel()
		t.Cleanup(func() { h.Close() })
		return h
	})
}
