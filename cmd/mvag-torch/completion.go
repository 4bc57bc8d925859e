package main

import (
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for bash, zsh or fish",
		ArgsUsage: "SHELL",
		Description: "bash: source <(mvag-torch completion bash)\n" +
			"zsh:  mvag-torch completion zsh > FOLDER/_mvag-torch, with FOLDER in $fpath\n" +
			"fish: mvag-torch completion fish > ~/.config/fish/completions/mvag-torch.fish",
		Action: func(c *cli.Context) error {
			switch shell := c.Args().First(); shell {
			case "bash", "zsh":
				return completions.ExecuteTemplate(os.Stdout, shell, map[string]any{
					"Nodes": nodes("", c.App.VisibleCommands(), c.App.VisibleFlags()), "Configs": configs.Names(),
				})
			case "fish":
				script, err := c.App.ToFishCompletion()
				if err != nil {
					return err
				}
				_, err = fmt.Print(script)
				return err
			default:
				return usageError{fmt.Errorf("%s: have shell %q, want bash, zsh or fish", c.Command.HelpName, shell)}
			}
		},
	}
}

// manCommand prints the man page for make release.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:   "man",
		Hidden: true,
		Usage:  "print the man page",
		Action: func(c *cli.Context) error {
			page, err := c.App.ToManWithSection(1)
			if err != nil {
				return err
			}
			_, err = fmt.Print(page)
			return err
		},
	}
}

// The cli package's own completion runs the program at every tab, which would load LibTorch each time. These scripts
// contain all words and run nothing.

// node is a command, with its path ("" for the program, "/dataset/demo"), and the words that may follow it.
type node struct {
	Path  string
	Words []word
}

type word struct{ Name, Usage string }

// nodes lists path and the commands below it, with their subcommands and flags.
func nodes(path string, commands []*cli.Command, flags []cli.Flag) []node {
	self := node{Path: path}
	var below []node
	for _, c := range commands {
		if c.Name == "help" {
			continue
		}
		self.Words = append(self.Words, word{c.Name, c.Usage})
		below = append(below, nodes(path+"/"+c.Name, c.Subcommands, c.Flags)...)
	}
	for _, f := range flags {
		usage := ""
		if d, ok := f.(cli.DocGenerationFlag); ok {
			usage = strings.ReplaceAll(d.GetUsage(), "`", "")
		}
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			self.Words = append(self.Words, word{dashes + name, usage})
		}
	}
	if path != "" {
		self.Words = append(self.Words, word{"--help", "show help"})
	}
	return append([]node{self}, below...)
}

// completions are the scripts. They offer words with the prefix that is typed, flags
// only after a dash, and otherwise files.
var completions = template.Must(template.New("").Funcs(template.FuncMap{
	"quote": func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" },
	"pair": func(w word) string { // zsh separates a word from its description by a colon
		return "'" + strings.ReplaceAll(strings.ReplaceAll(w.Name, ":", `\:`)+":"+w.Usage, "'", `'\''`) + "'"
	},
}).Parse(`
{{- define "bash" -}}
# bash completion for mvag-torch
_mvag_torch() {
	local at= i words=() cur=${COMP_WORDS[COMP_CWORD]}
	for ((i = 1; i < COMP_CWORD; i++)); do
		case $at/${COMP_WORDS[i]} in
		{{range $i, $n := .Nodes}}{{if $n.Path}}{{if gt $i 1}} | {{end}}{{$n.Path}}{{end}}{{end}}) at+=/${COMP_WORDS[i]} ;;
		esac
	done
	case $at in
{{- range .Nodes}}
	{{quote .Path}}) words=({{range $i, $w := .Words}}{{if $i}} {{end}}{{.Name}}{{end}}) ;;
{{- end}}
	esac
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-c | --config) words=({{range $i, $n := .Configs}}{{if $i}} {{end}}{{$n}}{{end}}) ;;
	esac
	COMPREPLY=()
	for i in "${words[@]}"; do
		[[ $i == "$cur"* && ($i != -* || $cur == -*) ]] && COMPREPLY+=("$i")
	done
}
complete -o default -F _mvag_torch mvag-torch
{{end}}
{{- define "zsh" -}}
#compdef mvag-torch
_mvag_torch() {
	local at= i
	local -a list
	for ((i = 2; i < CURRENT; i++)); do
		case $at/$words[i] in
		({{range $i, $n := .Nodes}}{{if $n.Path}}{{if gt $i 1}} | {{end}}{{$n.Path}}{{end}}{{end}}) at+=/$words[i] ;;
		esac
	done
	case $at in
{{- range .Nodes}}
	({{quote .Path}}) list=({{range .Words}}
		{{pair .}}{{end}}
	) ;;
{{- end}}
	esac
	case $words[CURRENT-1] in
	(-c | --config) list=({{range $i, $n := .Configs}}{{if $i}} {{end}}{{$n}}{{end}}) ;;
	esac
	[[ $PREFIX == -* ]] || list=("${(@)list:#-*}")
	_describe mvag-torch list
	_files
}
if [[ $funcstack[1] == _mvag-torch ]]; then
	_mvag_torch "$@"
else
	compdef _mvag_torch mvag-torch
fi
{{end}}`))
