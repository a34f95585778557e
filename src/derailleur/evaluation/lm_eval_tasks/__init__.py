"""Tasks for lm-eval (0.4.13), with which it scores a server of ours on problem files.

lm-eval generates and counts; programs are judged in our sandbox, where lm-eval's `humaneval` runs them in its
own process. `derailleur_python`, `derailleur_javascript` and `derailleur_java` complete functions (pass@1,
greedy); `derailleur_reference` asks how likely the references are (bits per byte). The problems are built in,
or those of `--metadata '{"problems": "HumanEval.jsonl.gz"}'`.

    lm_eval run --model local-completions --include_path FOLDER --tasks derailleur_python --model_args \
        model=quickstart@fast,base_url=http://127.0.0.1:8000/v1/completions,tokenizer=runs/quickstart/model

`python -m derailleur.evaluation.lm_eval_tasks` prints FOLDER.
"""
