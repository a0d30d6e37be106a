package kernel

import (
	"context"

	"kabel/sandbox/host"
)

// Capture implements host.World.
func (w *World) Capture(_ context.Context, r host.CaptureRequest) (host.Capture, error) {
	if _, err := r.Normal(); err != nil {
		return nil, err
	}
	return nil, host.Errorf(host.CodeUnsupported, "this host can't capture")
}
