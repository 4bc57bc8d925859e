package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/internal/download"
	"mvag-torch/model"
	"mvag-torch/model/weights"
)

var (
	backboneJSON   = &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	backbonePrefix = &cli.StringFlag{Name: "prefix", Usage: "which encoder, if the file has several: a `PART` of what its names begin with, such as teacher; as backbone.prefix"}
)

func backboneCommand() *cli.Command {
	return &cli.Command{
		Name:  "backbone",
		Usage: "pretrained encoder weights",
		Subcommands: []*cli.Command{{
			Name:   "list",
			Usage:  "list the built-in architectures, and which of them fetch has",
			Flags:  []cli.Flag{backboneJSON},
			Action: func(c *cli.Context) error { return listBackbones(c.Bool("json")) },
		}, {
			Name:      "info",
			Usage:     "describe a weights file: architecture, layers, types, SHA-256, input statistics, layers that will be used",
			ArgsUsage: "FILE",
			Flags:     []cli.Flag{configFlag, setFlag, backbonePrefix, backboneJSON},
			Action:    prompt(backboneInfo),
		}, {
			Name:      "convert",
			Usage:     "convert a state dict (.pth), TorchScript, safetensors or ONNX to safetensors with timm's names, if it fits an architecture: that of -c, else of the name of IN, else of the shapes",
			ArgsUsage: "IN OUT.safetensors",
			Flags:     []cli.Flag{configFlag, setFlag, backbonePrefix},
			Action:    prompt(convertBackbone),
		}, {
			Name:      "fetch",
			Usage:     "download a timm DINOv2 backbone from huggingface.co (or $HF_ENDPOINT), resuming an interrupted download",
			ArgsUsage: "NAME",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write; backbones/NAME.safetensors by default"},
				&cli.StringFlag{Name: "sha256", Usage: "expected SHA-256 (`HEX`); the server's by default"},
			},
			Action: fetchBackbone,
		}},
	}
}

func listBackbones(asJSON bool) error {
	list := weights.Supported()
	if asJSON {
		type entry struct {
			Name      string `json:"name"`
			Family    string `json:"family"`
			Patch     int    `json:"patch"`
			Channels  int    `json:"channels"`
			Blocks    int    `json:"blocks"`
			Heads     int    `json:"heads"`
			Registers int    `json:"registers"`
			Layers    []int  `json:"layers"`
			Fetch     string `json:"fetch,omitempty"` // the name that fetch takes
		}
		entries := make([]entry, len(list))
		for i, a := range list {
			entries[i] = entry{a.Name, a.Family.String(), a.Patch, a.Dim, a.Depth, a.Heads, a.Registers, a.DefaultLayers(), a.Fetchable()}
		}
		return printJSON(entries)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "name\tfamily\tpatch\tchannels\tblocks\theads\tregisters\tlayers by default\tfetch")
	for _, a := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n",
			a.Name, a.Family, a.Patch, a.Dim, a.Depth, a.Heads, a.Registers, strings.Trim(fmt.Sprint(a.DefaultLayers()), "[]"), a.Fetchable())
	}
	return w.Flush()
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func backboneInfo(c *cli.Context) error {
	_, info, err := describeBackbone(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(info)
	} else {
		err = info.Write(os.Stdout)
	}
	if err == nil && info.Fault != "" && c.String("config") != "" {
		err = fmt.Errorf("%s: %s", info.File, info.Fault)
	}
	return err
}

// describeBackbone reads the first argument as backbone.weights of the configuration, if there is one.
func describeBackbone(c *cli.Context) (*model.Backbone, model.Description, error) {
	var want configs.Backbone
	if c.String("config") != "" {
		// Of all paths only FILE is read: variables in the others need not be set.
		cfg, err := loadConfig(c, "backbone.weights=FILE", "data.root=.", `data.cache=""`, "output=.")
		if err != nil {
			return nil, model.Description{}, err
		}
		want = cfg.Backbone
	}
	b, err := model.ReadBackbone(c.Args().First(), cmp.Or(c.String("prefix"), want.Prefix))
	if err != nil {
		return nil, model.Description{}, err
	}
	info, err := b.Describe(want.Name, want.Layers)
	return b, info, err
}

// convertBackbone writes what fits an architecture, and never over its own input.
func convertBackbone(c *cli.Context) error {
	in, out := c.Args().Get(0), c.Args().Get(1)
	from, err := os.Stat(in)
	if err != nil {
		return err
	}
	if to, err := os.Stat(out); err == nil && os.SameFile(from, to) {
		return fmt.Errorf("%s: have the same file as input and output, want another output", out)
	}
	b, info, err := describeBackbone(c)
	switch {
	case err != nil:
		return err
	case info.Fault != "":
		return fmt.Errorf("%s: not converted: %s", in, info.Fault)
	case info.Mode != "native":
		return fmt.Errorf("%s: not converted: have %s, whose code is in the archive only: use the file with backbone.mode: module", in, info.Architecture)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	meta := map[string]string{"source": filepath.Base(in), "source.sha256": b.SHA256}
	for _, l := range b.Licences {
		meta["licence"] = l.Name
	}
	if b.Names.Prefix != "" {
		meta["source.prefix"] = b.Names.Prefix
	}
	if err := weights.WriteSafetensors(out, b.Tensors, meta); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %d tensors of %s", out, len(b.Tensors), info.Architecture)
	if n := len(b.Ignored); n > 0 {
		fmt.Fprintf(os.Stderr, "; ignored %d that do not belong to it, such as %.80q", n, b.Ignored[0])
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

func fetchBackbone(c *cli.Context) error {
	name := c.Args().First()
	address, name, err := weights.Address(name, os.Getenv("HF_ENDPOINT"))
	if err != nil {
		return usageError{err}
	}
	out := c.String("output")
	if out == "" {
		out = filepath.Join("backbones", name+".safetensors")
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	// A timeout for the whole download would be wrong: it may take hours.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Minute
	var bar *progressbar.ProgressBar
	r, err := download.Get(c.Context, download.File{
		URL: address, Path: out, SHA256: c.String("sha256"), Client: &http.Client{Transport: transport}, Pause: 2 * time.Second,
		Progress: func(done, size int64) {
			if bar == nil && size > 0 {
				bar = newBar(int(size), int(done), "bytes")
			}
			if bar != nil {
				_ = bar.Set(int(done))
			}
		},
	})
	var network *net.OpError
	var unknown *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return interrupted(c.Context, err, goesOn)
	case errors.As(err, &network) || errors.As(err, &unknown):
		return fmt.Errorf("%w; the network seems closed: set HTTPS_PROXY, or HF_ENDPOINT to a mirror, or download the address elsewhere and copy the file to %s", err, out)
	case err != nil:
		return err
	}
	if r.Verified == "" {
		fmt.Fprintf(os.Stderr, "%s: the server sent no SHA-256, so the file is not verified: compare the one below, or use --sha256\n", out)
	} else {
		fmt.Fprintf(os.Stderr, "%s: SHA-256 is %s\n", out, r.Verified)
	}
	if _, err := weights.FromSafetensors(out); err != nil {
		return err
	}
	fmt.Printf("%s  %s\n", r.SHA256, out)
	return nil
}
