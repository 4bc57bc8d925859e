package weights

import "mvag-torch/internal/pytorch"

// FromPyTorch reads every tensor of a state dict of torch.save (.pth), under
// the names it has there, as [FromSafetensors] does. Nothing in the file is run.
func FromPyTorch(path string) (Map, error) {
	f, err := pytorch.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := Map{}
	for _, name := range f.Names() {
		_, shape, _ := f.Info(name)
		data, err := f.Float32(name)
		if err != nil {
			return nil, err
		}
		m[name] = Tensor{shape, data}
	}
	return m, nil
}
