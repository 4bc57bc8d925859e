package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/dataset/demo"
	"mvag-torch/eval/score"
)

// benchPart adds to the line what is measured of the loader or the metrics.
func benchPart(ctx context.Context, cfg configs.Config, what string, steps int, line map[string]any) error {
	part, objects := timeLoader, cfg.Train.Objects
	if what == "metrics" {
		part, objects = timeMetrics, metricObjects
	}
	seconds, err := part(ctx, cfg, steps)
	if err != nil {
		return err
	}
	images := objects * cfg.Data.Views
	line["images"], line["seconds"], line["images_per_second"] = images, seconds, float64(images)/median(seconds)
	return nil
}

// timeLoader times batches of rendered images of 1024 pixels that are decoded and resized as in training.
func timeLoader(ctx context.Context, cfg configs.Config, steps int) (seconds []float64, err error) {
	root, err := os.MkdirTemp("", "mvag-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	fmt.Fprintln(os.Stderr, "rendering images to read")
	if _, err := demo.Render(ctx, demo.Options{Out: root, Size: 1024, Train: 2, Seed: 1}, nil); err != nil {
		return nil, err
	}
	cfg.Data.Root, cfg.Data.Format, cfg.Data.Index, cfg.Data.Images, cfg.Data.Cache = root, "realiad", demo.IndexFolder, demo.ImageFolder, ""
	set, err := dataset.Open(cfg.Data)
	if err != nil {
		return nil, err
	}
	loader, err := dataset.NewTrainLoader(ctx, set.Train, dataset.LoaderOptions{
		Source: set.Source, Objects: cfg.Train.Objects, Workers: cfg.Data.Workers, Prefetch: 1,
	})
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	return timed(steps, func(int) error {
		batch, err := loader.Next()
		if err == nil {
			loader.Recycle(batch)
		}
		return err
	})
}

// metricObjects is the size of the class that timeMetrics evaluates.
const metricObjects = 100

// timeMetrics times the evaluation of a class of random maps, half of its objects with a defect.
func timeMetrics(ctx context.Context, cfg configs.Config, steps int) (seconds []float64, err error) {
	objects := randomMaps(cfg)
	return timed(steps, func(int) error { return evaluateMaps(ctx, cfg, objects) })
}

func randomMaps(cfg configs.Config) [][]score.View {
	size := cfg.MapSize()
	objects := make([][]score.View, metricObjects)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range objects {
		for camera := range cfg.Data.Views {
			v := score.View{Camera: camera + 1, Path: fmt.Sprint(i, camera), Height: size.Height(), Width: size.Width(), Scores: make([]float32, size.Area())}
			for p := range v.Scores {
				v.Scores[p] = 0.3 * rng.Float32() * rng.Float32()
			}
			if i%2 == 0 {
				v.Defective, v.Code, v.Mask = true, "AK", make([]bool, size.Area())
				for p := range size.Area() / 100 {
					v.Mask[p] = true
					v.Scores[p] += 0.2
				}
			}
			objects[i] = append(objects[i], v)
		}
	}
	return objects
}

// evaluateMaps computes all metrics of a class, its objects with a defect first.
func evaluateMaps(ctx context.Context, cfg configs.Config, objects [][]score.View) error {
	class := score.NewClass("bench", score.Options{Top: cfg.Top(), AuproLimit: cfg.Eval.AuproLimit})
	for phase := range 2 {
		err := score.Each(ctx, len(objects)/2, func(i int) error {
			i = 2*i + phase
			_, err := class.Add(i, fmt.Sprint(i), objects[i])
			return err
		})
		if err != nil {
			return err
		}
		class.Seal()
	}
	_, err := class.Finish()
	return err
}
