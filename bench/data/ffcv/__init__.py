"""FFCV: its files are written ahead of training and read by its compiled pipelines.

beton                   where files lie and whether they are whole
beton_writer, packing   writing one, in a process of its own; how images are packed
beton_file, sample_check    reading its tables; checking its samples
decode, pipeline, loader    from the file to batches
"""
