if SOURCE == "nifti":

    rule convert:
        input:
            images=images_of,
        output:
            directory(f"{R}/convert/{{patient}}"),
        log:
            f"{R}/logs/convert/{{patient}}.log",
        benchmark:
            f"{R}/benchmarks/convert/{{patient}}.tsv"
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(4000, 30),
        params:
            folder=lambda wildcards: image_folder(wildcards.patient),
            files=files_of,
            settings=NIFTI,
            policy=POLICY,
            code=code_digest("pipeline.dicom.volume.convert_nifti"),
        message:
            "Convert {wildcards.patient}: NIfTI as declared"
        script:
            "../workflow_scripts/convert_nifti.py"

else:

    rule convert:
        input:
            index=f"{R}/index/{{patient}}",
        output:
            directory(f"{R}/convert/{{patient}}"),
        log:
            f"{R}/logs/convert/{{patient}}.log",
        benchmark:
            f"{R}/benchmarks/convert/{{patient}}.tsv"
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(4000, 30),
        params:
            settings=section("convert"),
            policy=POLICY,
            code=code_digest("pipeline.dicom.volume.convert"),
        message:
            "Convert {wildcards.patient}: slices to volumes"
        script:
            "../workflow_scripts/convert.py"
