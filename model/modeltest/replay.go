package modeltest

import (
	"testing"

	"mvag-torch/internal/tensor"
)

// Record captures work, as tensor.RecordGraph does.
type Record func(*tensor.Scope, tensor.Device, tensor.Recording, func()) (tensor.Recording, error)

// Again stands for a captured graph on the CPU: its replay calls the work once more, with all that the host had decided
// when it was captured.
type Again func()

// Replay calls the work.
func (work Again) Replay() { work() }

// CUDA tells whether the first CUDA device computes; the stub that make dry-cuda builds does not, so that its values
// mean nothing. Without a device the test is skipped.
func CUDA(t *testing.T) (computes bool) {
	t.Helper()
	if n, err := tensor.CUDADevices(); err != nil || n == 0 {
		t.Skip("no CUDA device")
	}
	name, _, _, _, err := tensor.DeviceInfo(0)
	if err != nil {
		t.Fatal(err)
	}
	return name != "stub"
}
