"""Answers as MedGemma writes them, in our own words: a text, the names of its sections, and its findings.

Forms: plain sections, bold and capital headings, `##`, bullets, numbered lists, tables, thoughts, "Final Answer:",
disclaimers, prose without a heading, German, and code fences. A finding is (name, side, status).
"""

from __future__ import annotations

from dataclasses import dataclass

Told = tuple[str, str | None, str]


@dataclass(frozen=True)
class Answer:
    """findings: those that are to be read, others may be; thought: how many thoughts it has."""

    text: str
    sections: tuple[str, ...] = ()
    findings: tuple[Told, ...] = ()
    thoughts: int = 0


THOUGHT = (
    "<unused94>thought\nThe user wants a chest X-ray report.\n\n1.  **Lungs:** is there a right pneumothorax? No.\n"
    "2.  **Heart:** looks large.\n<unused95>"
)
ANSWERS: dict[str, Answer] = {
    "plain": Answer(
        "FINDINGS:\nThe heart is enlarged. There is a small left pleural effusion. No pneumothorax.\n\n"
        "IMPRESSION:\n1. Cardiomegaly.\n2. Small left pleural effusion.",
        ("FINDINGS", "IMPRESSION"),
        (("cardiomegaly", None, "present"), ("pleural effusion", "left", "present"), ("pneumothorax", None, "absent")),
    ),
    "bold capitals": Answer(
        "**FINDINGS:**\n\nThe cardiac silhouette is enlarged.\n\n**IMPRESSION:**\n\nCardiomegaly.",
        ("FINDINGS", "IMPRESSION"),
        (("cardiomegaly", None, "present"),),
    ),
    "stars that share a token with the colon": Answer(
        "**Findings:** Clear lungs.\n**Impression:** No acute cardiopulmonary abnormality.",
        ("Findings", "Impression"),
    ),
    "hashes": Answer(
        "## Findings\n\n### Lungs\nThere is consolidation in the right lower lobe.\n\n### Pleura\nNo pleural effusion."
        "\n\n## Impression\n\nRight lower lobe pneumonia.",
        ("Findings", "Lungs", "Pleura", "Impression"),
        (("consolidation", "right", "present"), ("pleural effusion", None, "absent")),
    ),
    "bullets": Answer(
        "Here's a breakdown:\n\n*   **Lungs:** No consolidation or nodule.\n*   **Pleura:** "
        "Moderate right pleural effusion.\n*   **Heart:** The heart size is normal.\n\n"
        "**Overall Impression:**\n\nRight effusion.",
        ("Lungs", "Pleura", "Heart", "Overall Impression"),
        (("pleural effusion", "right", "present"), ("consolidation", None, "absent"), ("nodule", None, "absent")),
    ),
    "numbered": Answer(
        "1. **Devices**: A pacemaker is seen on the left.\n2. **Lungs**: No consolidation.\n"
        "3. **Bones**: No rib fracture.",
        ("Devices", "Lungs", "Bones"),
        (("consolidation", None, "absent"), ("rib fracture", None, "absent")),
    ),
    "table": Answer(
        "| Structure | Finding |\n|:---|:---|\n| Lungs | No consolidation |\n| Pleura | Small left pleural effusion |\n"
        "\n**Impression:** Small left pleural effusion.",
        ("Impression",),
        (("pleural effusion", "left", "present"),),
    ),
    "thought": Answer(
        THOUGHT + "**FINDINGS:**\nThe heart is enlarged.\n\n**IMPRESSION:**\nCardiomegaly.",
        ("FINDINGS", "IMPRESSION"),
        (("cardiomegaly", None, "present"),),
        thoughts=1,
    ),
    "final answer": Answer(
        "Let me look at the film step by step. The lungs are clear.\n\n**Final Answer:** No pneumothorax.",
        ("Final Answer",),
        (("pneumothorax", None, "absent"),),
    ),
    "disclaimer": Answer(
        "The lungs are clear. No pneumothorax.\n\n**Disclaimer:** I am an AI and cannot give medical advice. This is "
        "not a diagnosis of pneumonia.",
        ("Disclaimer",),
        (("pneumothorax", None, "absent"),),
    ),
    "prose": Answer(
        "The chest X-ray shows a patient with clear lung fields bilaterally and a normal-sized heart, but a 1.2 cm "
        "nodule in the right upper lobe—possibly a granuloma.",
        (),
        (("nodule", "right", "present"),),
    ),
    "one line": Answer(
        "FINDINGS: The lungs are clear. IMPRESSION: No acute cardiopulmonary process.", ("FINDINGS", "IMPRESSION")
    ),
    "indication and comparison": Answer(
        "INDICATION: Cough, r/o pneumothorax.\n\nCOMPARISON: None.\n\nFINDINGS: No pneumothorax.\n\n"
        "IMPRESSION: Normal.",
        ("INDICATION", "COMPARISON", "FINDINGS", "IMPRESSION"),
        (("pneumothorax", None, "absent"),),
    ),
    "fence": Answer("```\nLUNGS: No nodule.\nHEART: Normal.\n```", ("LUNGS", "HEART"), (("nodule", None, "absent"),)),
    "ruled off": Answer(
        "Findings\n--------\nThe heart is enlarged.\n\n---\n\n### **Impression**\n\nCardiomegaly.",
        ("Findings", "Impression"),
        (("cardiomegaly", None, "present"),),
    ),
    "nested bullets": Answer(
        "*   **Findings:**\n    *   **Lungs:** Small right pleural effusion.\n    *   **Heart:** Normal.\n"
        "*   **Impression:** Effusion.",
        ("Findings", "Lungs", "Heart", "Impression"),
        (("pleural effusion", "right", "present"),),
    ),
    "boxed": Answer(
        "The heart is enlarged.\n\nFinal Answer: The final answer is $\\boxed{Cardiomegaly}$",
        ("Final Answer",),
        (("cardiomegaly", None, "present"),),
    ),
    "German": Answer("**Befund:** Größe des Herzens normal, kein Erguss – 2,5 cm².", ("Befund",)),
    "emoji and other scripts": Answer("**Lungs:** ✅ No nodule. 胸部X線 شَدِيدٌ 👩🏽‍⚕️", ("Lungs",)),
    "a thought that the prompt opened": Answer(
        "thought\nA right pneumothorax?<unused95>FINDINGS: No pneumothorax.",
        ("FINDINGS",),
        (("pneumothorax", None, "absent"),),
        thoughts=1,
    ),
}
