"""Soft Teacher on 1 % of COCO's labels as its authors published it (Xu et al. 2021): 21.62 AP by its README.

That is the mean of five folds, each of which has a file in a folder of a shared drive; nobody can download it by a
program. Open the folder of ``url`` in a browser, and put the file of each fold where the stage that misses it says,
under the name of ``file``: ``{fold}`` is 1 to 5. What the files are called there we do not know.
"""

from ..common.run import run
from ..common.soft_teacher_r50 import model

published = dict(
    url="https://drive.google.com/drive/folders/1QA8sAw49DJiMHF-Cr7q0j7KgKjlJyklV",
    file="soft_teacher_r50_1_percent_fold_{fold}.pth",
    sha256=None,  # none was published; the record holds that of what was loaded
    key=None,  # the file's content says where its weights are
    family="soft_teacher",
    drop=[],
)
