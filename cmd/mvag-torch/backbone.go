package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"mvag-torch/model"
	"mvag-torch/model/weights"
)

func backboneCommand() *cli.Command {
	return &cli.Command{
		Name:  "backbone",
		Usage: "pretrained encoder weights",
		Subcommands: []*cli.Command{{
			Name:      "convert",
			Usage:     "write weights from a state dict (.pth), TorchScript, safetensors or ONNX as safetensors with timm's names",
			ArgsUsage: "IN OUT.safetensors",
			Action:    func(c *cli.Context) error { return convertBackbone(c.Args().Get(0), c.Args().Get(1)) },
		}},
	}
}

func convertBackbone(in, out string) error {
	m, err := model.LoadBackbone(in)
	if err != nil {
		return err
	}
	if err := m.CheckFinite(); err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	hash, err := model.FileSHA256(in)
	if err != nil {
		return err
	}
	meta := map[string]string{"source": filepath.Base(in), "source.sha256": hash}
	if err := weights.WriteSafetensors(out, m, meta); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %d tensors\n", out, len(m))
	return nil
}
