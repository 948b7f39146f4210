/**
 * Words for scenes and small talk in languages other than English, so that the language filter has work.
 *
 * Not a translator: scenes are listed ("circle, red, large, top left"), which needs no inflection.
 */
import { type Colour, colours, type Place, places, type Scene, type Shape, type Size, shapes } from "./Scene.ts"

export interface Language {
  /** ISO 639-1. */
  readonly code: string
  /** In the order of `shapes`, `colours`, small and large, `places`. */
  readonly shapes: ReadonlyArray<string>
  readonly colours: ReadonlyArray<string>
  readonly sizes: readonly [small: string, large: string]
  readonly places: ReadonlyArray<string>
  readonly intro: string
  readonly colourOf: (shape: string) => string
  readonly placeOf: (shape: string) => string
  readonly howMany: string
  readonly numbers: readonly [string, string, string, string]
  readonly small: ReadonlyArray<readonly [question: string, answer: string]>
}

export const languages: ReadonlyArray<Language> = [
  {
    code: "de",
    shapes: ["Kreis", "Quadrat", "Dreieck", "Stern"],
    colours: ["rot", "grün", "blau", "gelb"],
    sizes: ["klein", "groß"],
    places: ["oben links", "oben rechts", "unten links", "unten rechts", "in der Mitte"],
    intro: "Auf dem Bild sehen wir die folgenden Formen",
    colourOf: (s) => `Welche Farbe hat die Form mit dem Namen ${s}?`,
    placeOf: (s) => `Wo befindet sich die Form ${s} auf dem Bild?`,
    howMany: "Wie viele Formen sind auf dem Bild zu sehen?",
    numbers: ["Eine", "Zwei", "Drei", "Vier"],
    small: [
      ["Wie halte ich Brot länger frisch?", "In einem Tuch an einem kühlen Ort bleibt das Brot einige Tage frisch."],
      ["Wann fährt die letzte Fähre zur Insel?", "Im Sommer fährt die letzte Fähre kurz vor zehn Uhr am Abend."],
      ["Was kann ich im Schatten pflanzen?", "Farne und Bärlauch wachsen auch dort, wo kaum Sonne hinkommt."]
    ]
  },
  {
    code: "fr",
    shapes: ["cercle", "carré", "triangle", "étoile"],
    colours: ["rouge", "vert", "bleu", "jaune"],
    sizes: ["petit", "grand"],
    places: ["en haut à gauche", "en haut à droite", "en bas à gauche", "en bas à droite", "au centre"],
    intro: "Sur cette image nous voyons les formes suivantes",
    colourOf: (s) => `De quelle couleur est la forme appelée ${s} ?`,
    placeOf: (s) => `Où se trouve la forme ${s} dans l'image ?`,
    howMany: "Combien de formes y a-t-il dans l'image ?",
    numbers: ["Une", "Deux", "Trois", "Quatre"],
    small: [
      ["Comment garder le pain frais ?", "Dans un linge propre, à l'abri de la lumière, il reste bon quelques jours."],
      ["À quelle heure part le dernier bateau ?", "En été le dernier bateau quitte le port un peu avant dix heures."],
      ["Que planter à l'ombre ?", "Les fougères et l'ail des ours poussent très bien sans beaucoup de soleil."]
    ]
  },
  {
    code: "es",
    shapes: ["círculo", "cuadrado", "triángulo", "estrella"],
    colours: ["rojo", "verde", "azul", "amarillo"],
    sizes: ["pequeño", "grande"],
    places: [
      "arriba a la izquierda",
      "arriba a la derecha",
      "abajo a la izquierda",
      "abajo a la derecha",
      "en el centro"
    ],
    intro: "En la imagen se pueden ver las siguientes figuras",
    colourOf: (s) => `¿De qué color es la figura llamada ${s}?`,
    placeOf: (s) => `¿Dónde está la figura ${s} en la imagen?`,
    howMany: "¿Cuántas figuras hay en la imagen?",
    numbers: ["Una", "Dos", "Tres", "Cuatro"],
    small: [
      ["¿Cómo conservo el pan?", "Envuelto en un paño limpio y lejos del sol se mantiene bueno varios días."],
      ["¿Cuándo sale el último barco?", "En verano el último barco sale del puerto un poco antes de las diez."],
      ["¿Qué puedo plantar a la sombra?", "Los helechos crecen muy bien donde casi no llega la luz del sol."]
    ]
  },
  {
    code: "it",
    shapes: ["cerchio", "quadrato", "triangolo", "stella"],
    colours: ["rosso", "verde", "blu", "giallo"],
    sizes: ["piccolo", "grande"],
    places: ["in alto a sinistra", "in alto a destra", "in basso a sinistra", "in basso a destra", "al centro"],
    intro: "Nell'immagine si vedono le seguenti figure",
    colourOf: (s) => `Di che colore è la figura chiamata ${s}?`,
    placeOf: (s) => `Dove si trova la figura ${s} nell'immagine?`,
    howMany: "Quante figure ci sono nell'immagine?",
    numbers: ["Una", "Due", "Tre", "Quattro"],
    small: [
      ["Come conservo il pane?", "Avvolto in un panno pulito e lontano dalla luce resta buono per qualche giorno."],
      ["Quando parte l'ultimo traghetto?", "In estate l'ultimo traghetto lascia il porto poco prima delle dieci."]
    ]
  },
  {
    code: "ru",
    shapes: ["круг", "квадрат", "треугольник", "звезда"],
    colours: ["красный", "зелёный", "синий", "жёлтый"],
    sizes: ["маленький", "большой"],
    places: ["вверху слева", "вверху справа", "внизу слева", "внизу справа", "в центре"],
    intro: "На картинке нарисованы следующие фигуры",
    colourOf: (s) => `Какого цвета фигура под названием ${s}?`,
    placeOf: (s) => `Где на картинке находится ${s}?`,
    howMany: "Сколько фигур нарисовано на картинке?",
    numbers: ["Одна", "Две", "Три", "Четыре"],
    small: [
      ["Как сохранить хлеб свежим?", "В чистом полотенце и без света хлеб остаётся мягким несколько дней."],
      ["Когда уходит последний паром?", "Летом последний паром уходит незадолго до десяти часов вечера."]
    ]
  },
  {
    code: "zh",
    shapes: ["圆形", "正方形", "三角形", "星形"],
    colours: ["红色", "绿色", "蓝色", "黄色"],
    sizes: ["小", "大"],
    places: ["左上角", "右上角", "左下角", "右下角", "正中间"],
    intro: "这张图片里有下面这些图形",
    colourOf: (s) => `图片里的${s}是什么颜色的？`,
    placeOf: (s) => `${s}在图片的什么位置？`,
    howMany: "图片里一共有几个图形？",
    numbers: ["一个", "两个", "三个", "四个"],
    small: [
      ["怎样让面包保持新鲜？", "用干净的布包好，放在阴凉的地方，可以保存好几天。"],
      ["最后一班船几点开？", "夏天的最后一班船在晚上十点以前离开港口。"]
    ]
  },
  {
    code: "ja",
    shapes: ["丸", "四角", "三角", "星"],
    colours: ["赤", "緑", "青", "黄色"],
    sizes: ["小さい", "大きい"],
    places: ["左上", "右上", "左下", "右下", "真ん中"],
    intro: "この絵には次のような形があります",
    colourOf: (s) => `この絵の${s}は何色ですか。`,
    placeOf: (s) => `${s}はこの絵のどこにありますか。`,
    howMany: "この絵には形がいくつありますか。",
    numbers: ["一つです", "二つです", "三つです", "四つです"],
    small: [
      [
        "パンを長くおいしく食べるにはどうすればいいですか。",
        "きれいな布に包んで、涼しいところに置いておくといいですよ。"
      ],
      ["最後の船は何時に出ますか。", "夏の間は、夜の十時少し前に港を出ます。"]
    ]
  }
]

const shapeName = (l: Language, s: Shape): string => l.shapes[shapes.indexOf(s)]!
const colourName = (l: Language, c: Colour): string => l.colours[colours.indexOf(c)]!
const placeName = (l: Language, p: Place): string => l.places[places.indexOf(p)]!
const sizeName = (l: Language, s: Size): string => l.sizes[s === "small" ? 0 : 1]

const wide = (l: Language): boolean => l.code === "zh" || l.code === "ja"

/** The scene as a list in another language. */
export const describeIn = (l: Language, scene: Scene): string => {
  const comma = wide(l) ? "、" : ", "
  const parts = scene.things.map((t) =>
    [shapeName(l, t.shape), colourName(l, t.colour), sizeName(l, t.size), placeName(l, t.place)].join(comma)
  )
  return `${l.intro}${wide(l) ? "：" : ": "}${parts.join(wide(l) ? "；" : "; ")}${wide(l) ? "。" : "."}`
}

/** Question and answer pairs about the scene in another language: shapes that occur once, and the count. */
export const pairsIn = (l: Language, scene: Scene): ReadonlyArray<readonly [question: string, answer: string]> => {
  const stop = wide(l) ? "。" : "."
  const capital = (text: string) => `${text[0]!.toUpperCase()}${text.slice(1)}${stop}`
  return [
    ...scene.things
      .filter((t) => scene.things.filter((o) => o.shape === t.shape).length === 1)
      .flatMap(
        (t): ReadonlyArray<readonly [string, string]> => [
          [l.colourOf(shapeName(l, t.shape)), capital(colourName(l, t.colour))],
          [l.placeOf(shapeName(l, t.shape)), capital(placeName(l, t.place))]
        ]
      ),
    [l.howMany, capital(l.numbers[scene.things.length - 1]!)]
  ]
}
