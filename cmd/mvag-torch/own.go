package main

import (
	"path/filepath"

	"mvag-torch/configs"
	"mvag-torch/internal/lock"
	"mvag-torch/train"
)

// ownRun keeps other processes out of the run folder of a configuration. The caller releases it.
func ownRun(cfg configs.Config) (*train.Owned, error) {
	own, err := train.Own(cfg)
	if err == nil && own.Warning() != "" {
		logLine(own.Warning())
	}
	return own, err
}

// folders are locks of folders that a command writes to.
type folders []*lock.Lock

// ownFolders keeps other processes of the command, whose locks have that name, out of folders that exist. "" is none, and
// a folder may be there twice. The caller releases them.
func ownFolders(name string, dirs ...string) (all folders, err error) {
	had := map[string]bool{"": true}
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(dir)
		if dir == "" || err == nil && had[real] {
			continue
		}
		var own *lock.Lock
		if err == nil {
			own, err = lock.Take(filepath.Join(real, name), dir)
		}
		if err != nil {
			all.release()
			return nil, err
		}
		if had[real] = true; own.Warning() != "" {
			logLine(own.Warning())
		}
		all = append(all, own)
	}
	return all, nil
}

func (f folders) release() {
	for _, own := range f {
		own.Release()
	}
}
